#include "common/deep_thread.hpp"

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

namespace fasttrt {
namespace {

constexpr std::size_t max_stack_bytes = std::size_t{1} << 30;
constexpr std::size_t min_stack_bytes = std::size_t{8} << 20;  // Linux's default

class Attributes {
 public:
  Attributes() { pthread_attr_init(&attributes_); }
  ~Attributes() { pthread_attr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  pthread_attr_t* get() { return &attributes_; }

 private:
  pthread_attr_t attributes_{};
};

void* run(void* work) {
  (*static_cast<std::function<void()>*>(work))();
  return nullptr;
}

}  // namespace

DeepThread::DeepThread(std::function<void()> work) : work_(std::move(work)) {
  Attributes attributes;
  int error = EAGAIN;
  // Less where the address space is limited.
  for (auto size = max_stack_bytes; error == EAGAIN && size >= min_stack_bytes; size /= 2) {
    pthread_attr_setstacksize(attributes.get(), size);
    error = pthread_create(&thread_, attributes.get(), run, &work_);
  }
  if (error != 0) throw std::system_error(error, std::generic_category(), "starting a thread");
}

DeepThread::~DeepThread() { pthread_join(thread_, nullptr); }

}  // namespace fasttrt
