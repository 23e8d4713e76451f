#include "engine/inputs_read.hpp"

namespace fasttrt::engine {

void InputsRead::set() noexcept {
  const std::lock_guard lock(mutex_);
  is_set_ = true;
  changed_.notify_all();
}

bool InputsRead::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return is_set_; });
}

}  // namespace fasttrt::engine
