#include "engine/dispatcher.hpp"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "engine/completion_channel.hpp"

namespace fasttrt::engine {
namespace {

constexpr std::array priorities{Priority::high, Priority::normal};

std::size_t rank(Priority priority) { return priority == priorities[0] ? 0 : 1; }

}  // namespace

Dispatcher::Dispatcher(std::vector<std::unique_ptr<Runner>> runners, RunTensors tensors,
                       DispatcherOptions options)
    : runners_(std::move(runners)), tensors_(std::move(tensors)), options_(std::move(options)) {
  if (runners_.empty()) throw InputError("a dispatcher needs something to run requests on");
  if (options_.workers < 1) throw InputError("workers: expected at least 1");
  if (options_.max_queue == std::size_t{0}) throw InputError("max_queue: expected at least 1");
  if (options_.batching)
    batches_ = std::make_unique<BatchQueue>(tensors_, *options_.batching, runners_.size());
  for (const auto& runner : runners_) lanes_.push_back({*runner, 0, 0, 0, {}, 0, 0});
}

Dispatcher::~Dispatcher() { close(false); }

void Dispatcher::check(Request& request) const {
  if (request.inputs().empty()) return;
  std::ignore = choose_profile(tensors_.inputs, request.inputs());
  const auto& shape = request.inputs().front().shape;
  request.batch_size = shape.rank() > 0 ? shape[0] : 1;
  if (!batches_ || !batches_->accepts(request)) return;
  request.rows_ = request.inputs().front().shape[0];
  check_targets(tensors_, request);
}

// Needs the lock, as all that follows unless it takes it.
void Dispatcher::admit(Request& request) {
  if (is_closed_) throw Error("the engine is closed");
  auto& waiting = statistics_.waiting;
  if (options_.max_queue && waiting >= *options_.max_queue) {
    ++statistics_.rejected;
    throw QueueFullError("the queue is full: " + std::to_string(waiting) +
                         " requests wait, max_queue is " + std::to_string(*options_.max_queue));
  }
  if (threads_.empty()) start_threads();
  if (request.deadline && !timer_.joinable()) timer_ = std::thread([this] { watch_deadlines(); });
  request.queued_at_ = Clock::now();
  statistics_.last_arrival = request.queued_at_;
  request.spins_ = options_.wait != WaitPolicy::block;
  request.bell_ = static_cast<std::uint8_t>((statistics_.runs + waiting) % Request::bells);
  statistics_.most_waiting = std::max(statistics_.most_waiting, ++waiting);
  if (request.deadline && (!earliest_ || *request.deadline < *earliest_)) {
    earliest_ = request.deadline;
    timer_changed_.notify_one();
  }
}

void Dispatcher::announce() noexcept {
  ++arrivals_;
  if (sleeping_ == 0) return;
  if (batches_ || is_closed_) {
    arrived_.notify_all();  // what is ready for one device may not be for another
  } else {
    arrived_.notify_one();
  }
}

void Dispatcher::submit(const RequestRef& request, Staging staging) {
  check(*request);
  if (batches_ && batches_->accepts(*request)) {
    Lock lock(mutex_);
    admit(*request);
    if (const auto seat = batches_->join(request); seat.batch != nullptr) {
      request->bell_ = seat.batch->bell;
      lock.unlock();
      return bring(request, staging, seat);
    }
    --statistics_.waiting;
  }
  Clock::duration copying{};
  if (staging == Staging::copy && !request->inputs().empty()) {
    const auto begun = Clock::now();
    request->staged_ = stage(tensors_, request->inputs());
    copying = Clock::now() - begun;
  }
  const Lock lock(mutex_);
  admit(*request);
  statistics_.staging += copying;
  queues_.at(rank(request->priority)).push(request);
  announce();
}

// Brings the rows to the request's place in its batch. Without the lock, at first.
void Dispatcher::bring(const RequestRef& request, Staging staging, const BatchQueue::Seat& seat) {
  const auto begun = Clock::now();
  std::exception_ptr error;
  try {
    seat.batch->copy_in(request->inputs(), seat.offset, request->shares_copies);
  } catch (...) {
    error = std::current_exception();
  }
  RequestRef refused;
  {
    const Lock lock(mutex_);
    statistics_.staging += Clock::now() - begun;
    const bool matters = batches_->joined(seat, error == nullptr);
    if (error != nullptr && staging == Staging::copy && request->batch_ == seat.batch.get()) {
      --statistics_.waiting;
      refused = batches_->withdraw(*seat.batch, seat.member);
    }
    if (matters) announce();
  }
  if (refused) std::rethrow_exception(error);
}

// What remains is to tell others of it, without the lock.
RequestRef Dispatcher::settle(RequestRef request, Outcome outcome) {
  request->outcome_ = outcome;
  statistics_.count(outcome);
  if (is_closed_) announce();  // it may have been the last
  return request;
}

bool Dispatcher::cancel(Request& request) {
  RequestRef cancelled;
  {
    const Lock lock(mutex_);
    if (request.list_ != nullptr) {
      cancelled = request.list_->remove(request);
    } else if (request.batch_ != nullptr) {
      cancelled = batches_->withdraw(*request.batch_, request.member_);
    } else {
      return false;
    }
    --statistics_.waiting;
    cancelled = settle(std::move(cancelled), Outcome::cancelled);
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

// Whether a request in the queue is to leave it: all, or those late by `due`.
bool Dispatcher::is_withdrawn(Request& request, Outcome outcome, Clock::time_point due) {
  if (outcome != Outcome::late) return true;
  if (!request.deadline) return false;
  if (*request.deadline <= due) {
    request.error_ =
        std::make_exception_ptr(DeadlineError("the request waited beyond its deadline"));
    return true;
  }
  earliest_ = std::min(*request.deadline, earliest_.value_or(Clock::time_point::max()));
  return false;
}

void Dispatcher::withdraw_all(Outcome outcome, Clock::time_point due,
                              std::vector<RequestRef>& withdrawn) {
  const auto add = [&](RequestRef request) {
    --statistics_.waiting;
    withdrawn.push_back(settle(std::move(request), outcome));
  };
  for (auto& queue : queues_) {
    Request* after = nullptr;
    for (auto* request = queue.front(); request != nullptr; request = after) {
      after = RequestList::next(*request);
      if (is_withdrawn(*request, outcome, due)) add(queue.remove(*request));
    }
  }
  if (!batches_) return;
  for (const auto& batch : std::vector(batches_->batches().begin(), batches_->batches().end())) {
    for (std::size_t i = 0; i < batch->members.size(); ++i) {
      const auto& request = batch->members[i].request;
      if (request && is_withdrawn(*request, outcome, due)) add(batches_->withdraw(*batch, i));
    }
  }
}

void Dispatcher::watch_deadlines() {
  Lock lock(mutex_);
  while (!is_closed_ || statistics_.waiting > 0) {
    const auto now = Clock::now();
    if (!earliest_) {
      timer_changed_.wait(lock);
    } else if (now < *earliest_) {
      timer_changed_.wait_until(lock, Clock::time_point(*earliest_));
    } else {
      earliest_.reset();
      std::vector<RequestRef> withdrawn;
      withdraw_all(Outcome::late, now, withdrawn);
      lock.unlock();
      Request::finish(withdrawn);
      withdrawn.clear();
      lock.lock();
    }
  }
}

void Dispatcher::reserve() const {
  if (!options_.batching) return;
  // One for each worker, and one that gathers meanwhile.
  const auto workers = static_cast<std::size_t>(options_.workers) * runners_.size();
  const auto rows = padded_size(options_.batching->sizes, options_.batching->max_size);
  engine::reserve(tensors_, rows, workers + 1);
}

void Dispatcher::flush() noexcept {
  const Lock lock(mutex_);
  if (batches_) batches_->flush();
  announce();
}

void Dispatcher::close(bool drain) noexcept {
  std::vector<RequestRef> withdrawn;
  {
    const Lock lock(mutex_);
    is_closed_ = true;
    if (batches_) batches_->flush();
    if (!drain) withdraw_all(Outcome::cancelled, {}, withdrawn);
    ++arrivals_;
    arrived_.notify_all();
  }
  Request::finish(withdrawn);
  if (is_worker()) return;
  const std::lock_guard ending(ending_);
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  {  // the timer serves until the queue is empty, which it is now
    Lock lock(mutex_);
    callers_changed_.wait(lock, [&] { return callers_ == 0; });
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
