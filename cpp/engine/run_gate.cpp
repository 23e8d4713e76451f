#include "engine/run_gate.hpp"

#include "common/error.hpp"

namespace fasttrt::engine {

void RunGate::enter(Lock& lock) {
  changed_.wait(lock, [&] { return is_closed_ || !is_alone_; });
  if (is_closed_) throw Error("the engine is closed");
  ++inside_;
}

void RunGate::leave() noexcept {
  --inside_;
  changed_.notify_all();
}

void RunGate::enter_alone(Lock& lock) {
  enter(lock);
  is_alone_ = true;
  changed_.wait(lock, [&] { return inside_ == 1; });
  if (!is_closed_) return;
  leave_alone();
  throw Error("the engine is closed");
}

void RunGate::leave_alone() noexcept {
  is_alone_ = false;
  leave();
}

void RunGate::close(Lock& lock) noexcept {
  is_closed_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return inside_ == 0; });
}

}  // namespace fasttrt::engine
