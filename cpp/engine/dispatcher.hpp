// The queue between callers and devices, and the threads that empty it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/batch.hpp"
#include "engine/batch_queue.hpp"
#include "engine/batching.hpp"
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
  std::optional<BatchingOptions> batching;  // requests share runs
};

// Whether the arrays may be changed once a request is submitted, or not until it is done.
enum class Staging : std::uint8_t { lend, copy };

// Any worker that is free takes the next request or batch, those of high priority first, so that
// the device that is free first gets it. All functions may be called from any thread.
class Dispatcher {
 public:
  using Clock = Request::Clock;

  // The runners are alike and have these tensors, which outlive the dispatcher; none for requests
  // without arrays. Throws InputError for options out of range, and for tensors that cannot be
  // batched. Threads start with the first request.
  Dispatcher(std::vector<std::unique_ptr<Runner>> runners, RunTensors tensors,
             DispatcherOptions options);
  // Closes it, and cancels what has not begun. Not on a thread of its own.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Queues a request. Throws InputError for arrays that no profile takes or targets that no result
  // fits, QueueFullError, Error once closed, OutOfMemoryError; the request is not queued then.
  void submit(const RequestRef& request, Staging staging);
  // The same for a caller that waits for it: one that can share its run with nobody else is run at
  // once, on this thread, and is done on return.
  void run(const RequestRef& request);
  // Whether it had not begun; then it is done.
  bool cancel(Request& request);
  // Lets a channel have the request when it is done; at once if it is. It must have had none.
  void attach(const RequestRef& request, std::shared_ptr<CompletionChannel> channel);

  // Allocates what batches gather in, so that the first ones need not wait for it. Throws
  // OutOfMemoryError.
  void reserve() const;
  // From now on no batch waits for others to join it.
  void flush() noexcept;
  // Refuses requests from now on; runs what is queued (drain), or cancels it; waits for what is
  // under way, and ends the threads. On a thread of its own it waits for nothing.
  void close(bool drain) noexcept;
  // Whether the caller is one of its threads: one that a runner calls.
  [[nodiscard]] bool is_worker() const noexcept;
  [[nodiscard]] bool closed() const;

  [[nodiscard]] DispatchStatistics statistics() const;
  [[nodiscard]] const RunTensors& tensors() const noexcept { return tensors_; }
  // Whether requests are copied into batches, and do not go to a device as they lie.
  [[nodiscard]] bool is_batching() const noexcept { return batches_ != nullptr; }

 private:
  using Lock = std::unique_lock<std::mutex>;
  using BatchPtr = BatchQueue::BatchPtr;
  struct Worker;
  struct Work;
  struct Run;

  void check(Request& request) const;
  void admit(Request& request);
  void announce() noexcept;
  void bring(const RequestRef& request, Staging staging, const BatchQueue::Seat& seat);
  void withdraw_all(Outcome outcome, Clock::time_point due, std::vector<RequestRef>& withdrawn);
  [[nodiscard]] bool is_withdrawn(Request& request, Outcome outcome, Clock::time_point due);
  RequestRef settle(RequestRef request, Outcome outcome);
  void watch_deadlines();

  // dispatcher_worker.cpp
  void start_threads();
  void work(Lane& lane);
  [[nodiscard]] Work next(Lock& lock, Worker& worker);
  [[nodiscard]] Work take(Worker& worker);
  [[nodiscard]] bool gather(Lock& lock, Worker& worker);
  [[nodiscard]] bool may_gather(const QueuedBatch& batch, const Lane& lane) const noexcept;
  [[nodiscard]] bool find_place(Lock& lock, Worker& worker);
  void idle(Lock& lock, const Worker& worker, bool& has_spun);

  // dispatcher_run.cpp
  [[nodiscard]] Run begin(Lane& lane, std::int64_t rows, std::int64_t size,
                          Clock::time_point now) noexcept;
  Clock::time_point end(const Run& run, bool is_ok) noexcept;
  void want_place(Lane& lane) noexcept;
  RequestRef conclude(RequestRef request, bool has_run, Clock::time_point now);
  void run_alone(Lane& lane, Request& request) const;
  void run_one(Lane& lane, RequestRef request, Lock& lock);
  [[nodiscard]] bool can_run_now(Request& request);
  void count_alone(const Request& request);
  void run_batch(Worker& worker, const BatchPtr& batch, Lock& lock);

  const std::vector<std::unique_ptr<Runner>> runners_;
  const RunTensors tensors_;
  const DispatcherOptions options_;

  std::mutex ending_;  // of who waits for the threads in close(); before the other
  mutable std::mutex mutex_;
  std::deque<Lane> lanes_;               // one a runner
  std::array<RequestList, 2> queues_;    // of those that run alone, by priority
  std::unique_ptr<BatchQueue> batches_;  // null without batching
  DispatchStatistics statistics_;
  bool is_closed_ = false;
  std::vector<std::thread> threads_;
  std::atomic<std::uint32_t> arrivals_ = 0;  // changes with whatever an idle worker waits for
  int sleeping_ = 0;
  std::condition_variable arrived_;
  int callers_ = 0;  // threads that are in run() for their own requests
  std::condition_variable callers_changed_;

  std::optional<Clock::time_point> earliest_;  // no request in the queue has an earlier deadline
  std::thread timer_;                          // for these; starts with the first
  std::condition_variable timer_changed_;
};

}  // namespace fasttrt::engine
