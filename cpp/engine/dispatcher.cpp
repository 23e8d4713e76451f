#include "engine/dispatcher.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "common/futex.hpp"
#include "engine/completion_channel.hpp"

namespace fasttrt::engine {
namespace {

// Waking a thread takes some 30 us: an idle worker watches for as long as the next request may be
// about to come.
constexpr auto max_spin = std::chrono::microseconds(100);

std::exception_ptr late(const char* what) {
  return std::make_exception_ptr(DeadlineError(std::string("the request ") + what));
}

}  // namespace

Dispatcher::Dispatcher(std::vector<std::unique_ptr<Runner>> runners,
                       const DispatcherOptions& options)
    : runners_(std::move(runners)), options_(options) {
  if (runners_.empty()) throw InputError("a dispatcher needs something to run requests on");
  if (options_.workers < 1) throw InputError("workers: expected at least 1");
  if (options_.max_queue == std::size_t{0}) throw InputError("max_queue: expected at least 1");
}

Dispatcher::~Dispatcher() { close(false); }

void Dispatcher::start_threads() {
  for (const auto& runner : runners_) {
    for (int i = 0; i < options_.workers; ++i) {
      threads_.emplace_back([this, &runner = *runner] { work(runner); });
    }
  }
}

void Dispatcher::submit(const RequestRef& request) {
  const Lock lock(mutex_);
  if (is_closed_) throw Error("the engine is closed");
  auto& waiting = statistics_.waiting;
  if (options_.max_queue && waiting >= *options_.max_queue) {
    ++statistics_.rejected;
    throw QueueFullError("the queue is full: " + std::to_string(waiting) +
                         " requests wait, max_queue is " + std::to_string(*options_.max_queue));
  }
  if (threads_.empty()) start_threads();
  if (request->deadline && !timer_.joinable()) timer_ = std::thread([this] { watch_deadlines(); });

  request->queued_at_ = Clock::now();
  request->spins_ = options_.wait != WaitPolicy::block;
  queues_.at(request->priority == Priority::high ? 0 : 1).push(request);
  statistics_.most_waiting = std::max(statistics_.most_waiting, ++waiting);
  if (request->deadline && (!earliest_ || *request->deadline < *earliest_)) {
    earliest_ = request->deadline;
    timer_changed_.notify_one();
  }
  ++arrivals_;
  if (sleeping_ > 0) arrived_.notify_one();
}

void Dispatcher::work(Runner& runner) {
  Lock lock(mutex_);
  while (auto request = next(lock)) run(runner, std::move(request), lock);
}

// Null once there will be none.
RequestRef Dispatcher::next(Lock& lock) {
  bool has_spun = options_.wait == WaitPolicy::block;
  for (;;) {
    for (auto& queue : queues_) {
      if (queue.empty()) continue;
      auto request = queue.pop();
      --statistics_.waiting;
      return request;
    }
    if (is_closed_) return {};
    idle(lock, has_spun);
  }
}

void Dispatcher::idle(Lock& lock, bool& has_spun) {
  if (has_spun) {
    ++sleeping_;
    arrived_.wait(lock);
    --sleeping_;
    return;
  }
  const auto seen = arrivals_.load();
  lock.unlock();
  const auto end = Clock::now() + max_spin;
  while (arrivals_ == seen && Clock::now() < end) relax();
  has_spun = arrivals_ == seen;
  lock.lock();
}

void Dispatcher::run(Runner& runner, RequestRef request, Lock& lock) {
  const auto begun = Clock::now();
  request->begin();
  ++statistics_.running;
  lock.unlock();
  auto outcome = Outcome::ok;
  if (request->deadline && begun > *request->deadline) {
    outcome = Outcome::late;
    request->error_ = late("waited beyond its deadline");
  } else {
    try {
      runner.run(*request);
    } catch (...) {
      outcome = Outcome::error;
      request->error_ = std::current_exception();
    }
  }
  const auto ended = Clock::now();
  if (outcome == Outcome::ok && request->deadline && ended > *request->deadline) {
    outcome = Outcome::late;
    request->error_ = late("ended after its deadline");
  }
  lock.lock();
  --statistics_.running;
  ++statistics_.runs;
  ++statistics_.rows;
  ++statistics_.run_sizes[1];
  statistics_.queue += begun - request->queued_at_;
  statistics_.run += ended - begun;
  request = settle(std::move(request), outcome);
  lock.unlock();
  Request::finish({&request, 1});
  lock.lock();
}

// What remains is to tell others of it, without the lock.
RequestRef Dispatcher::settle(RequestRef request, Outcome outcome) {
  request->outcome_ = outcome;
  statistics_.count(outcome);
  return request;
}

bool Dispatcher::cancel(Request& request) {
  RequestRef cancelled;
  {
    const Lock lock(mutex_);
    if (request.list_ == nullptr) return false;
    --statistics_.waiting;
    cancelled = settle(request.list_->remove(request), Outcome::cancelled);
  }
  Request::finish({&cancelled, 1});
  return true;
}

void Dispatcher::attach(const RequestRef& request, std::shared_ptr<CompletionChannel> channel) {
  {
    const Lock lock(mutex_);
    if (request->outcome_ == Outcome::pending) {
      request->channel = std::move(channel);
      return;
    }
  }
  while (!request->is_done()) std::this_thread::yield();  // at any moment
  auto done = request;
  channel->push({&done, 1});
}

// Takes those due out of the queue.
void Dispatcher::withdraw(RequestList& queue, Outcome outcome, Clock::time_point due,
                          std::vector<RequestRef>& withdrawn) {
  Request* after = nullptr;
  for (auto* request = queue.front(); request != nullptr; request = after) {
    after = RequestList::next(*request);
    if (outcome == Outcome::late) {
      if (!request->deadline) continue;
      if (*request->deadline > due) {
        earliest_ = std::min(*request->deadline, earliest_.value_or(Clock::time_point::max()));
        continue;
      }
      request->error_ = late("waited beyond its deadline");
    }
    --statistics_.waiting;
    withdrawn.push_back(settle(queue.remove(*request), outcome));
  }
}

void Dispatcher::watch_deadlines() {
  Lock lock(mutex_);
  while (!is_closed_ || statistics_.waiting > 0) {
    const auto now = Clock::now();
    if (!earliest_) {
      timer_changed_.wait(lock);
    } else if (now < *earliest_) {
      timer_changed_.wait_until(lock, *earliest_);
    } else {
      earliest_.reset();
      std::vector<RequestRef> withdrawn;
      for (auto& queue : queues_) withdraw(queue, Outcome::late, now, withdrawn);
      lock.unlock();
      Request::finish(withdrawn);
      withdrawn.clear();
      lock.lock();
    }
  }
}

void Dispatcher::close(bool drain) noexcept {
  std::vector<RequestRef> withdrawn;
  {
    const Lock lock(mutex_);
    is_closed_ = true;
    if (!drain) {
      for (auto& queue : queues_) withdraw(queue, Outcome::cancelled, {}, withdrawn);
    }
    ++arrivals_;
    arrived_.notify_all();
  }
  Request::finish(withdrawn);
  const std::lock_guard ending(ending_);
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  {  // the timer serves until the queue is empty, which it is now
    const Lock lock(mutex_);
    timer_changed_.notify_all();
  }
  if (timer_.joinable()) timer_.join();
}

bool Dispatcher::closed() const {
  const Lock lock(mutex_);
  return is_closed_;
}

DispatchStatistics Dispatcher::statistics() const {
  const Lock lock(mutex_);
  return statistics_;
}

}  // namespace fasttrt::engine
