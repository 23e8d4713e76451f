// How a dispatcher runs a request, or a batch of them.
#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "engine/dispatcher.hpp"
#include "engine/dispatcher_worker.hpp"

namespace fasttrt::engine {
namespace {

bool is_late(const Request& request, Request::Clock::time_point now) {
  return request.deadline && now > *request.deadline;
}

bool is_out_of_memory(const std::exception_ptr& error) noexcept {
  try {
    if (error != nullptr) std::rethrow_exception(error);
    return false;
  } catch (const OutOfMemoryError&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): without and with padding
Dispatcher::Run Dispatcher::begin(Lane& lane, std::int64_t rows, std::int64_t size,
                                  Clock::time_point now) noexcept {
  ++statistics_.running;
  if (batches_) batches_->began(rows);
  const bool is_alone = lane.computing++ == 0;
  return {lane, rows, size, is_alone, ++lane.begun, now};
}

// A run waits for a place on the device. Open batches wait for the end of runs, so they must hold
// no place meanwhile: the two would wait for each other.
void Dispatcher::want_place(Lane& lane) noexcept {
  ++lane.unplaced;
  if (batches_ && batches_->is_gathering()) announce();
}

Dispatcher::Clock::time_point Dispatcher::end(const Run& run, bool is_ok) noexcept {
  const auto now = Clock::now();
  auto& lane = run.lane;
  // Of runs of different sizes that overlap nobody knows which one took the time.
  const bool is_known = (run.is_alone && run.place == lane.begun) || lane.last_size == run.size;
  const auto time = now - std::max(run.begun, lane.idle_since);
  --lane.computing;
  lane.idle_since = now;
  lane.last_size = run.size;
  --statistics_.running;
  ++statistics_.runs;
  statistics_.rows += static_cast<std::uint64_t>(run.rows);
  ++statistics_.run_sizes[run.size];
  statistics_.run += now - run.begun;
  if (!batches_) return now;
  batches_->ended(run.rows, run.size, is_ok && is_known ? time : Clock::duration{});
  announce();  // a batch may be ready for the device now
  return now;
}

// Settles a request that has run, or was too late to.
RequestRef Dispatcher::conclude(RequestRef request, bool has_run, Clock::time_point now) {
  auto& error = request->error_;
  auto outcome = error == nullptr ? Outcome::ok : Outcome::error;
  if (!has_run || (error == nullptr && is_late(*request, now))) {
    outcome = Outcome::late;
    error =
        std::make_exception_ptr(DeadlineError(has_run ? "the request ended after its deadline"
                                                      : "the request waited beyond its deadline"));
  }
  if (outcome == Outcome::ok) {
    statistics_.request_queue += request->begun_at_ - request->queued_at_;
    statistics_.request_run += request->ended_at_ - request->begun_at_;
    statistics_.request_copy_out += now - request->ended_at_;
  }
  return settle(std::move(request), outcome);
}

void Dispatcher::run_alone(Lane& lane, Request& request) const {
  const auto inputs = request.staged_inputs();
  if (inputs.empty()) {
    lane.runner.run(request);
  } else if (batches_) {
    run_directly(tensors_, request, inputs, lane.runner);
  } else {
    lane.runner.run(inputs, request.outputs());
  }
}

void Dispatcher::run_one(Lane& lane, RequestRef request, Lock& lock) {
  const auto begun = Clock::now();
  auto ended = begun;
  const bool is_run = !is_late(*request, begun);
  statistics_.queue += begun - request->queued_at_;
  request->begun_at_ = begun;
  if (is_run) {
    request->begin();
    const auto run = begin(lane, request->rows(), request->rows(), begun);
    want_place(lane);
    lock.unlock();
    request->error_ = error_of([&] { run_alone(lane, *request); });
    lock.lock();
    --lane.unplaced;
    const bool is_ok = request->error_ == nullptr;
    ended = end(run, is_ok);
    request->ended_at_ = ended;
    if (is_ok) statistics_.count_batch(request->batch_size, ended - begun, {});
  }
  request = conclude(std::move(request), is_run, ended);
  lock.unlock();
  Request::finish({&request, 1});
  lock.lock();
}

void Dispatcher::run(const RequestRef& request) {
  check(*request);
  Lock lock(mutex_);
  if (!can_run_now(*request)) {
    lock.unlock();
    return submit(request, Staging::lend);
  }
  if (is_closed_) throw Error("the engine is closed");
  request->queued_at_ = Clock::now();
  ++callers_;
  run_one(lanes_.front(), request, lock);
  if (--callers_ == 0) callers_changed_.notify_all();
}

// Whether it can share its run with nobody, is not to wait for anybody, and needs no padding.
bool Dispatcher::can_run_now(Request& request) {
  return batches_ && batches_->accepts(request) && statistics_.waiting == 0 &&
         batches_->is_alone(request.rows()) && batches_->size_alone(request) == request.rows();
}

// A request of a batch that failed, and that was run again.
void Dispatcher::count_alone(const Request& request) {
  if (request.error_ != nullptr) return;
  statistics_.count_batch(request.batch_size, request.ended_at_ - request.begun_at_, {});
}

void Dispatcher::run_batch(Worker& worker, const BatchPtr& batch, Lock& lock) {
  auto& lane = worker.lane;
  auto place = worker.let_go();
  const auto begun = Clock::now();
  std::vector<RequestRef> done;
  std::vector<Batch::Member*> live;
  for (auto& member : batch->members) {
    if (!member.request) continue;
    --statistics_.waiting;
    statistics_.queue += begun - member.request->queued_at_;
    if (is_late(*member.request, begun)) {
      done.push_back(conclude(std::move(member.request), false, begun));
    } else {
      member.request->begin();
      member.request->begun_at_ = begun;
      live.push_back(&member);
    }
  }
  if (!live.empty()) {
    const auto size = padded_size(batch->sizes, batch->rows);
    const auto run = begin(lane, batch->rows, size, begun);
    const bool is_placed = place != nullptr;
    if (!is_placed) want_place(lane);
    lock.unlock();
    auto error = error_of([&] {
      if (batch->is_incomplete) throw OutOfMemoryError("no memory for a batch");
      if (!is_placed) place = lane.runner.gather();
    });
    if (!is_placed) {
      lock.lock();
      --lane.unplaced;
      lock.unlock();
    }
    if (error == nullptr) error = error_of([&] { batch->run(size, *place); });
    place.reset();
    lock.lock();
    const auto ended = end(run, error == nullptr);
    lock.unlock();
    // Alone, only those at fault fail; and there may be memory without the padding.
    const bool may_fit = (batch->is_incomplete || size > batch->rows) && is_out_of_memory(error);
    const bool is_final = error != nullptr && batch->members.size() == 1 && !may_fit;
    for (auto* const member : live) {
      auto& request = *member->request;
      request.ended_at_ = ended;
      if (error == nullptr) {
        request.error_ = error_of([&] { batch->take(*member); });
      } else if (is_final) {
        request.error_ = error;
      } else {
        request.error_ = error_of([&] { batch->run_alone(*member, lane.runner); });
        request.ended_at_ = Clock::now();
      }
    }
    const auto taken = Clock::now();
    lock.lock();
    (error == nullptr ? statistics_.copy_out : statistics_.run) += taken - ended;
    if (error == nullptr) {
      statistics_.count_batch(batch->rows, ended - begun, taken - ended);
    } else if (!is_final) {
      statistics_.runs += live.size();
      for (const auto* const member : live) count_alone(*member->request);
    }
    for (auto* const member : live) {
      done.push_back(conclude(std::move(member->request), true, taken));
    }
  }
  lock.unlock();
  place.reset();  // where all were late
  Request::finish(done);
  done.clear();
  lock.lock();
}

}  // namespace fasttrt::engine
