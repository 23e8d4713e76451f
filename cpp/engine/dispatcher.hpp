// The queue between callers and devices, and the threads that empty it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/dispatch_statistics.hpp"
#include "engine/request.hpp"
#include "engine/request_list.hpp"
#include "engine/runner.hpp"
#include "engine/wait.hpp"

namespace fasttrt::engine {

struct DispatcherOptions {
  int workers = 1;                       // runs that may be under way at once, for each runner
  std::optional<std::size_t> max_queue;  // requests that wait at most
  WaitPolicy wait = WaitPolicy::automatic;
};

// Any worker that is free takes the next request, those of high priority first, so that the device
// that is free first gets it. All functions may be called from any thread.
class Dispatcher {
 public:
  using Clock = Request::Clock;

  // Throws InputError for options out of range. Threads start with the first request.
  Dispatcher(std::vector<std::unique_ptr<Runner>> runners, const DispatcherOptions& options);
  // Closes it, and cancels what has not begun. Not on a thread of its own.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Queues a request. Throws QueueFullError, or Error once closed; the request is not done then.
  void submit(const RequestRef& request);
  // Whether it had not begun; then it is done.
  bool cancel(Request& request);
  // Lets a channel have the request when it is done; at once if it is. It must have had none.
  void attach(const RequestRef& request, std::shared_ptr<CompletionChannel> channel);

  // Refuses requests from now on; runs what is queued (drain), or cancels it; waits for what is
  // under way, and ends the threads.
  void close(bool drain) noexcept;
  [[nodiscard]] bool closed() const;

  [[nodiscard]] DispatchStatistics statistics() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  void start_threads();
  void work(Runner& runner);
  [[nodiscard]] RequestRef next(Lock& lock);
  void idle(Lock& lock, bool& has_spun);
  void run(Runner& runner, RequestRef request, Lock& lock);
  void watch_deadlines();
  void withdraw(RequestList& queue, Outcome outcome, Clock::time_point due,
                std::vector<RequestRef>& withdrawn);
  RequestRef settle(RequestRef request, Outcome outcome);

  const std::vector<std::unique_ptr<Runner>> runners_;
  const DispatcherOptions options_;

  std::mutex ending_;  // of who waits for the threads in close(); before the other
  mutable std::mutex mutex_;
  std::array<RequestList, 2> queues_;  // by priority, the first to be served first
  DispatchStatistics statistics_;
  bool is_closed_ = false;
  std::vector<std::thread> threads_;
  std::atomic<std::uint32_t> arrivals_ = 0;  // changes with whatever an idle worker waits for
  int sleeping_ = 0;
  std::condition_variable arrived_;

  std::optional<Clock::time_point> earliest_;  // no request in the queue has an earlier deadline
  std::thread timer_;                          // for these; starts with the first
  std::condition_variable timer_changed_;
};

}  // namespace fasttrt::engine
