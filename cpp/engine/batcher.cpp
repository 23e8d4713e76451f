#include "engine/batcher.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

using Clock = std::chrono::steady_clock;

enum class Outcome {
  pending,
  direct,  // there was one call only, which has its results
  shared,  // every call takes its own
  failed,  // every call runs alone
};

}  // namespace

struct Batcher::Batch {
  Batch(const BatchTensors& tensors, const BatchMember& first, std::vector<std::int64_t> usable,
        const BatchingOptions& options)
      : leader(first),
        sizes(std::move(usable)),
        capacity(std::min(options.max_size, sizes.back())),
        deadline(Clock::now() + options.max_delay),
        shared(tensors, first, padded_size(sizes, capacity)),
        rows(first.rows) {}

  // Whether there is but one call, and nothing to pad. After close().
  [[nodiscard]] bool runs_directly() const {
    return members == 1 && padded_size(sizes, rows) == rows;
  }

  // Never changed. The leader's arrays are there until close().
  const BatchMember leader;
  const std::vector<std::int64_t> sizes;  // of the options', those that a profile takes
  const std::int64_t capacity;
  const Clock::time_point deadline;

  SharedRun shared;  // everybody's until close(), then the leader's until the outcome is there

  // Under the batcher's mutex, and constant after close().
  std::int64_t rows;
  int members = 1;
  int copying = 0;                     // members whose rows are on their way into the shared run
  bool due = false;                    // the leader waits for no one else to join
  bool incomplete = false;             // a member could not bring its rows
  std::condition_variable for_leader;  // due or copying changed

  Outcome outcome = Outcome::pending;  // under the batcher's mutex
  std::condition_variable for_others;  // the outcome is there
};

Batcher::Batcher(std::span<const IoTensor> inputs, std::span<const IoTensor> outputs,
                 std::shared_ptr<PinnedPool> pool, WithSession with_session,
                 BatchingOptions options)
    : tensors_{inputs, outputs, std::move(pool)},
      with_session_(std::move(with_session)),
      options_(std::move(options)) {
  check_batching(inputs, outputs, options_);
}

Batcher::~Batcher() = default;

bool Batcher::accepts(std::span<const InputArray> inputs,
                      std::span<const OutputArray> outputs) const noexcept {
  if (inputs.size() != tensors_.inputs.size() || outputs.size() != tensors_.outputs.size()) {
    return false;
  }
  const auto rows = inputs.front().shape[0];
  return rows > 0 && rows <= options_.max_size &&
         std::ranges::all_of(inputs,
                             [&](const InputArray& array) {
                               return array.place == Place::host && array.shape.rank() > 0 &&
                                      array.shape[0] == rows;
                             }) &&
         std::ranges::all_of(outputs,
                             [](const OutputArray& array) { return array.place == Place::host; });
}

void Batcher::infer(std::span<const InputArray> inputs, std::span<OutputArray> outputs) {
  BatchMember member{inputs, outputs, inputs.front().shape[0]};
  check_targets(tensors_, member);
  const auto batch = join(member);
  if (batch == nullptr) return run_alone(member);
  if (member.offset == 0) {
    lead(*batch);
  } else {
    follow(*batch, member);
  }
  if (batch->outcome == Outcome::shared) return batch->shared.take(member);
  if (batch->outcome == Outcome::failed) return run_alone(member);
}

// Null where the profiles allow no batch with these samples.
std::shared_ptr<Batcher::Batch> Batcher::join(BatchMember& member) {
  const std::lock_guard lock(mutex_);
  for (const auto& batch : open_) {
    if (!batch->shared.matches(member)) continue;
    const bool fits = batch->rows + member.rows <= batch->capacity;
    if (fits) {
      member.offset = std::exchange(batch->rows, batch->rows + member.rows);
      ++batch->members;
      ++batch->copying;
    }
    // One without room for this call has little left to wait for.
    if (!batch->due && (!fits || batch->rows == batch->capacity)) {
      batch->due = true;
      batch->for_leader.notify_one();
    }
    if (fits) return batch;
  }
  auto sizes = usable_sizes(tensors_.inputs, member.inputs, options_.sizes);
  if (sizes.empty() || sizes.back() < member.rows) return nullptr;
  auto batch = std::make_shared<Batch>(tensors_, member, std::move(sizes), options_);
  batch->due = is_flushing_ || batch->rows == batch->capacity;
  open_.push_back(batch);
  return batch;
}

void Batcher::lead(Batch& batch) {
  auto outcome = Outcome::failed;
  std::exception_ptr error;
  bool is_short = false;  // of memory
  try {
    {
      std::unique_lock lock(mutex_);
      batch.for_leader.wait_until(lock, batch.deadline, [&] { return batch.due; });
    }
    with_session_([&](const Run& run) {
      close(batch);
      run_batch(batch, run);
      outcome = batch.runs_directly() ? Outcome::direct : Outcome::shared;
    });
  } catch (const OutOfMemoryError&) {
    error = std::current_exception();
    is_short = true;
  } catch (...) {
    error = std::current_exception();
  }
  close(batch);  // where it did not come to a run
  batch.shared.free_inputs();
  if (outcome == Outcome::failed) batch.shared.free_outputs();
  {
    const std::lock_guard lock(mutex_);
    batch.outcome = outcome;
    batch.for_others.notify_all();
  }
  if (error == nullptr || batch.members > 1) return;
  if (is_short && !batch.runs_directly()) return;  // there may be memory without the padding
  std::rethrow_exception(error);
}

void Batcher::follow(Batch& batch, const BatchMember& member) {
  bool copied = true;
  try {
    batch.shared.add(member);
  } catch (...) {
    copied = false;  // memory is short, and may do for each alone
  }
  std::unique_lock lock(mutex_);
  if (!copied) batch.incomplete = batch.due = true;
  --batch.copying;
  batch.for_leader.notify_one();
  batch.for_others.wait(lock, [&] { return batch.outcome != Outcome::pending; });
}

// No one joins any more, and no one but the leader uses the leader's arrays or the shared run.
void Batcher::close(Batch& batch) noexcept {
  std::unique_lock lock(mutex_);
  std::erase_if(open_, [&](const auto& other) { return other.get() == &batch; });
  batch.for_leader.wait(lock, [&] { return batch.copying == 0; });
}

void Batcher::run_batch(Batch& batch, const Run& run) const {
  if (batch.incomplete) throw OutOfMemoryError("no memory for a batch");
  if (batch.runs_directly()) return run_directly(tensors_, batch.leader, run);
  batch.shared.run(batch.rows, run, padded_size(batch.sizes, batch.rows));
}

void Batcher::run_alone(const BatchMember& member) const {
  with_session_([&](const Run& run) { run_directly(tensors_, member, run); });
}

void Batcher::stop_waiting() noexcept {
  const std::lock_guard lock(mutex_);
  is_flushing_ = true;
  for (const auto& batch : open_) {
    batch->due = true;
    batch->for_leader.notify_one();
  }
}

}  // namespace fasttrt::engine
