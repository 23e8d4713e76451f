#include "engine/batch_queue.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace fasttrt::engine {

QueuedBatch::QueuedBatch(const RunTensors& tensors, const Request& first,
                         std::vector<std::int64_t> usable, const BatchingOptions& options,
                         std::uint8_t its_bell)
    : Batch(tensors, first, padded_size(usable, std::min(options.max_size, usable.back()))),
      priority(first.priority),
      sizes(std::move(usable)),
      capacity(std::min(options.max_size, sizes.back())),
      bell(its_bell) {}

BatchQueue::BatchQueue(const RunTensors& tensors, BatchingOptions options, std::size_t devices)
    : tensors_(tensors),
      options_(std::move(options)),
      expected_(std::numeric_limits<std::int64_t>::max()),
      pace_(static_cast<std::int64_t>(devices)) {
  check_batching(tensors_.inputs, tensors_.outputs, options_);
}

bool BatchQueue::accepts(Request& request) const noexcept {
  const auto inputs = request.inputs();
  const auto outputs = request.outputs();
  if (inputs.size() != tensors_.inputs.size() || outputs.size() != tensors_.outputs.size()) {
    return false;
  }
  if (inputs.front().shape.rank() == 0) return false;
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

BatchQueue::BatchPtr BatchQueue::open(const RequestRef& request) {
  auto sizes = usable_sizes(tensors_.inputs, request->inputs(), options_.sizes);
  if (sizes.empty() || sizes.back() < request->rows()) return nullptr;
  const auto bell = next_bell_;
  next_bell_ = static_cast<std::uint8_t>((bell + 1) % Request::bells);
  return batches_.emplace_back(
      std::make_shared<QueuedBatch>(tensors_, *request, std::move(sizes), options_, bell));
}

// Beyond so many the next batch had better gather.
std::int64_t BatchQueue::useful_rows(const QueuedBatch& batch) const noexcept {
  return std::min(batch.capacity, pace_.best(batch.sizes));
}

BatchQueue::Seat BatchQueue::join(const RequestRef& request) {
  const auto rows = request->rows();
  BatchPtr joined;
  for (const auto& batch : batches_) {
    if (batch->is_sealed || batch->priority != request->priority || !batch->matches(*request)) {
      continue;
    }
    if (batch->rows + rows <= useful_rows(*batch)) {
      joined = batch;
      break;
    }
    batch->is_sealed = true;  // it has little left to wait for
  }
  if (joined == nullptr) joined = open(request);
  if (joined == nullptr) return {};
  request->batch_ = joined.get();
  request->member_ = joined->members.size();
  const auto offset = joined->rows;
  joined->members.push_back({request, offset, rows, false});
  joined->rows += rows;
  ++joined->copying;
  ++joined->live;
  waiting_ += rows;
  expected_ = std::max(expected_, waiting_ + running_);
  pace_.came(rows, waiting_ + running_, Clock::now());
  if (joined->rows >= useful_rows(*joined)) joined->is_sealed = true;
  return {joined, request->member_, offset};
}

bool BatchQueue::joined(const Seat& seat, bool is_copied) noexcept {
  auto& batch = *seat.batch;
  --batch.copying;
  batch.members[seat.member].is_copied = is_copied;
  if (!is_copied) batch.is_incomplete = batch.is_sealed = true;
  if (batch.gatherer != nullptr) return true;
  if (batch.copying > 0) return false;
  return batch.is_sealed || all_are_here() || !std::exchange(batch.is_announced, true);
}

std::int64_t BatchQueue::size_alone(const Request& request) const {
  const auto sizes = usable_sizes(tensors_.inputs, request.inputs(), options_.sizes);
  return sizes.empty() || sizes.back() < request.rows() ? 0 : padded_size(sizes, request.rows());
}

RequestRef BatchQueue::withdraw(QueuedBatch& batch, std::size_t member) noexcept {
  auto request = std::move(batch.members[member].request);
  request->batch_ = nullptr;
  waiting_ -= batch.members[member].rows;
  if (--batch.live == 0) {
    std::erase_if(batches_, [&](const auto& other) { return other.get() == &batch; });
  }
  return request;
}

BatchQueue::Clock::time_point BatchQueue::due(const QueuedBatch& batch,
                                              const Lane& lane) const noexcept {
  if (batch.is_sealed || is_flushing_) return Clock::time_point::min();
  if (lane.computing > 0) return Clock::time_point::max();
  if (all_are_here()) return Clock::time_point::min();
  return std::max(batch.opened, lane.idle_since) + options_.max_delay;
}

BatchQueue::BatchPtr BatchQueue::take(Priority priority, const Lane& lane, const void* worker,
                                      Clock::time_point now) {
  for (auto place = batches_.begin(); place != batches_.end(); ++place) {
    auto batch = *place;
    if (batch->priority != priority || due(*batch, lane) > now) continue;
    if (batch->gatherer != nullptr && batch->gatherer != worker) continue;
    const bool has_waited = !batch->is_sealed && !is_flushing_ && options_.max_delay.count() > 0;
    if (has_waited && !all_are_here()) expected_ = waiting_ + running_;  // in vain
    batch->is_sealed = true;
    if (batch->copying > 0) continue;  // see joined()
    batches_.erase(place);
    for (auto& member : batch->members) {
      if (!member.request) continue;
      member.request->batch_ = nullptr;
      waiting_ -= member.rows;
    }
    return batch;
  }
  return nullptr;
}

BatchQueue::Clock::time_point BatchQueue::next_due(const Lane& lane,
                                                   const void* worker) const noexcept {
  auto first = Clock::time_point::max();
  for (const auto& batch : batches_) {
    if (batch->is_sealed || (batch->gatherer != nullptr && batch->gatherer != worker)) continue;
    first = std::min(first, due(*batch, lane));
  }
  return first;
}

bool BatchQueue::goes_soon(const QueuedBatch& batch, const Lane& lane) const noexcept {
  // Longer than runs take as a rule: others may want the place.
  constexpr auto soon = std::chrono::milliseconds(5);
  if (batch.live == 0 || lane.unplaced > 0) return false;
  return lane.computing > 0 || due(batch, lane) < Clock::now() + soon;
}

bool BatchQueue::is_gathering() const noexcept {
  return std::ranges::any_of(batches_,
                             [](const auto& batch) { return batch->gatherer != nullptr; });
}

BatchQueue::BatchPtr BatchQueue::first_open(const void* worker) const noexcept {
  const auto found = std::ranges::find_if(batches_, [&](const auto& batch) {
    return !batch->is_sealed && (batch->gatherer == nullptr || batch->gatherer == worker);
  });
  return found == batches_.end() ? nullptr : *found;
}

void BatchQueue::began(std::int64_t rows) noexcept {
  running_ += rows;
  expected_ = std::max(expected_, waiting_ + running_);
}

void BatchQueue::ended(std::int64_t rows, std::int64_t size, Clock::duration time) {
  running_ -= rows;
  pace_.ended(rows, size, time, Clock::now());
}

bool BatchQueue::is_alone(std::int64_t rows) const noexcept {
  return waiting_ + running_ == 0 && (options_.max_delay.count() == 0 || rows >= expected_);
}

}  // namespace fasttrt::engine
