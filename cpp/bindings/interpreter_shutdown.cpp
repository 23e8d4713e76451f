#include "bindings/interpreter_shutdown.hpp"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "bindings/gil.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {
namespace {

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  int under_way = 0;
  bool ending = false;
};

// Never destroyed: threads may come here while the process ends. A forked process begins anew, as
// it has none of the threads that are in such calls.
State*& current() {
  static State* state = [] {
    pthread_atfork(nullptr, nullptr, [] { current() = new State; });
    return new State;
  }();
  return state;
}

State& state() { return *current(); }

}  // namespace

BlockingVendorCall::BlockingVendorCall(AtShutdown at_shutdown) {
  const std::lock_guard lock(state().mutex);
  if (state().ending && at_shutdown == AtShutdown::refuse) throw Error("the interpreter is ending");
  ++state().under_way;
}

BlockingVendorCall::~BlockingVendorCall() {
  const std::lock_guard lock(state().mutex);
  --state().under_way;
  state().changed.notify_all();
}

bool is_shutting_down() noexcept {
  const std::lock_guard lock(state().mutex);
  return state().ending;
}

void drain_vendor_calls() {
  constexpr std::chrono::milliseconds interval(50);
  for (;;) {
    {
      const GilRelease release;  // they need it to come to their ends
      std::unique_lock lock(state().mutex);
      state().ending = true;
      if (state().changed.wait_for(lock, interval, [] { return state().under_way <= 0; })) return;
    }
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  }
}

}  // namespace fasttrt::bindings
