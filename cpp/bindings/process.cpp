#include "bindings/process.hpp"

#include <pthread.h>

namespace fasttrt::bindings {
namespace {

// A system call less than getpid().
int& generation() noexcept {
  static int forks = [] {
    pthread_atfork(nullptr, nullptr, [] { ++generation(); });
    return 0;
  }();
  return forks;
}

}  // namespace

Process::Process() noexcept : generation_(generation()) {}

bool Process::is_another() const noexcept { return generation() != generation_; }

}  // namespace fasttrt::bindings
