// Tells another thread that a run is done with its caller's input arrays, long before its results.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace fasttrt::engine {

// Set once, by the run; waited for by any number of threads. It must outlive both.
class InputsRead {
 public:
  void set() noexcept;
  // Whether it is set within the time.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds time);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
};

}  // namespace fasttrt::engine
