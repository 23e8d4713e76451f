// Requests that are done, for one who waits for many.
#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "engine/request.hpp"

namespace fasttrt::engine {

// From any number of threads. An event loop watches the descriptor.
class CompletionChannel {
 public:
  using Clock = Request::Clock;

  // Throws Error where the process may open no more files.
  CompletionChannel();
  ~CompletionChannel();
  CompletionChannel(const CompletionChannel&) = delete;
  CompletionChannel& operator=(const CompletionChannel&) = delete;

  // Readable while something is here, or the channel is closed. Not for reading.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  // Wakes whoever waits if nothing was here. Takes the references, and drops them once closed.
  void push(std::span<RequestRef> requests) noexcept;
  // All that is here, in the order in which it came.
  [[nodiscard]] std::vector<RequestRef> take() noexcept;
  // Waits until something is here or the time has come; returns whether. Once closed: false, at
  // once, whatever is here.
  [[nodiscard]] bool wait_until(Clock::time_point time) const noexcept;
  // Drops what will come.
  void close() noexcept;
  [[nodiscard]] bool is_closed() const noexcept;

 private:
  void clear_signal() const noexcept;
  void signal() const noexcept;

  const int descriptor_;
  mutable std::mutex mutex_;
  std::vector<RequestRef> done_;
  bool is_closed_ = false;
};

}  // namespace fasttrt::engine
