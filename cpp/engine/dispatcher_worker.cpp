// What a dispatcher's threads do.
#include "engine/dispatcher_worker.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/futex.hpp"
#include "engine/dispatcher.hpp"

namespace fasttrt::engine {
namespace {

// Waking a thread takes some 30 us: an idle worker watches for as long as the next request may be
// about to come.
constexpr auto max_idle_spin = std::chrono::microseconds(100);

// NOLINTNEXTLINE(*-non-const-global-variables)
thread_local const Dispatcher* employer = nullptr;

}  // namespace

bool Dispatcher::is_worker() const noexcept { return employer == this; }

void Dispatcher::start_threads() {
  for (auto& lane : lanes_) {
    for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this, &lane] { work(lane); });
  }
}

void Dispatcher::work(Lane& lane) {
  employer = this;
  Worker worker{lane, {}, {}, 0};
  Lock lock(mutex_);
  for (;;) {
    auto [request, batch, unused] = next(lock, worker);
    if (unused != nullptr) {
      lock.unlock();
      unused.reset();
      lock.lock();
    }
    if (batch != nullptr) {
      run_batch(worker, batch, lock);
    } else if (request) {
      run_one(lane, std::move(request), lock);
    } else {
      return;
    }
  }
}

// None once there will be none.
Dispatcher::Work Dispatcher::next(Lock& lock, Worker& worker) {
  bool has_spun = options_.wait == WaitPolicy::block;
  for (;;) {
    if (auto work = take(worker); work.request || work.batch != nullptr) return work;
    if (is_closed_ && statistics_.waiting == 0) return {{}, {}, worker.let_go()};
    if (!gather(lock, worker)) idle(lock, worker, has_spun);
  }
}

Dispatcher::Work Dispatcher::take(Worker& worker) {
  const auto now = Clock::now();
  for (auto& queue : queues_) {
    const auto priority = &queue == queues_.data() ? Priority::high : Priority::normal;
    Work work;
    if (batches_) work.batch = batches_->take(priority, worker.lane, &worker, now);
    if (work.batch == nullptr && !queue.empty()) work.request = queue.pop();
    if (work.batch == nullptr && !work.request) continue;
    if (work.request) --statistics_.waiting;
    if (worker.gathered != nullptr && worker.gathered != work.batch) {
      work.unused = worker.let_go();
      announce();
    }
    return work;
  }
  return {};
}

// Brings rows of a batch that is still open to the device, while nothing else is to be done.
// Returns false where there are none.
bool Dispatcher::gather(Lock& lock, Worker& worker) {
  if (batches_ == nullptr) return false;
  if (worker.gathered == nullptr) return find_place(lock, worker);
  const auto batch = worker.gathered;
  std::exception_ptr error;
  if (may_gather(*batch, worker.lane)) {
    const auto end = batch->copied_rows();
    const auto begin = std::exchange(worker.uploaded, end);
    if (begin == end) return false;
    lock.unlock();
    error = error_of([&] {
      const auto most = padded_size(batch->sizes, batch->capacity);
      for (std::size_t i = 0; i < tensors_.inputs.size(); ++i) {
        const HostRows rows{batch->block(i), batch->row_bytes(i), most};
        worker.place->upload(i, rows, begin, end);
      }
    });
    lock.lock();
    if (error == nullptr) return true;
  }
  batch->is_refused = true;  // of an error, the run will tell
  auto unused = worker.let_go();
  announce();
  lock.unlock();
  unused.reset();
  lock.lock();
  return true;
}

// Not for a busy device while another one is free for the batch.
bool Dispatcher::may_gather(const QueuedBatch& batch, const Lane& lane) const noexcept {
  const bool is_elsewhere = lane.computing > 0 && std::ranges::any_of(lanes_, [](auto& other) {
                              return other.computing == 0 && other.gathering == 0;
                            });
  return !is_elsewhere && batches_->goes_soon(batch, lane);
}

bool Dispatcher::find_place(Lock& lock, Worker& worker) {
  const auto batch = batches_->first_open(&worker);
  if (batch == nullptr || batch->is_refused || batch->copied_rows() == 0) return false;
  if (!may_gather(*batch, worker.lane)) return false;
  std::size_t largest = 0;
  for (std::size_t i = 0; i < tensors_.inputs.size(); ++i) {
    largest = std::max(largest, batch->row_bytes(i));
  }
  largest *= static_cast<std::size_t>(batch->capacity);
  worker.gathered = batch;
  batch->gatherer = &worker;
  ++worker.lane.gathering;
  lock.unlock();
  const auto error = error_of([&] { worker.place = worker.lane.runner.try_gather(largest); });
  lock.lock();
  if (error == nullptr && worker.place != nullptr) return true;
  batch->is_refused = true;
  std::ignore = worker.let_go();
  announce();
  return true;
}

void Dispatcher::idle(Lock& lock, const Worker& worker, bool& has_spun) {
  constexpr auto never = Clock::time_point::max();
  const auto due = batches_ ? batches_->next_due(worker.lane, &worker) : never;
  if (has_spun) {
    ++sleeping_;
    if (due == never) {
      arrived_.wait(lock);
    } else {
      arrived_.wait_until(lock, due);
    }
    --sleeping_;
    return;
  }
  const auto seen = arrivals_.load();
  lock.unlock();
  const auto end = std::min(Clock::now() + max_idle_spin, due);
  while (arrivals_ == seen && Clock::now() < end) relax();
  has_spun = arrivals_ == seen && end < due;
  lock.lock();
}

}  // namespace fasttrt::engine
