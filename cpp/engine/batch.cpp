#include "engine/batch.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/error.hpp"
#include "engine/batching.hpp"

namespace fasttrt::engine {
namespace {

std::size_t bytes_of_row(const IoTensor& tensor, const Dims& shape) {
  return nvinfer::byte_size(tensor.dtype, with_rows(shape, 1).volume());
}

// The memory of one row.
void* row_at(void* rows, std::int64_t index, std::size_t bytes) {
  return static_cast<std::byte*>(rows) + static_cast<std::size_t>(index) * bytes;
}

void copy(void* dst, const void* src, std::size_t bytes, CopyPool* helpers = nullptr) {
  if (helpers != nullptr) return helpers->copy(dst, src, bytes);
  if (bytes > 0) std::memcpy(dst, src, bytes);
}

void copy_rows(void* dst, const void* src, std::int64_t rows, std::size_t bytes) {
  copy(dst, src, static_cast<std::size_t>(rows) * bytes);
}

// Fills the places up to the capacity with rows. Padding is real data: whatever else the memory
// holds may be slow to compute with, or as an index lead anywhere.
void repeat(const HostRows& host, std::int64_t rows) {
  for (auto filled = rows; filled < host.capacity; filled += rows) {
    const auto count = std::min(rows, host.capacity - filled);
    copy_rows(row_at(host.data, filled, host.row_bytes), host.data, count, host.row_bytes);
  }
}

HostBuffer allocate(const std::shared_ptr<PinnedPool>& pool, std::size_t bytes) {
  if (pool == nullptr || bytes < min_pinned_bytes) return HostBuffer(bytes);
  return {pool, bytes};
}

HostBuffer allocate_rows(const std::shared_ptr<PinnedPool>& pool, std::int64_t rows,
                         std::size_t bytes) {
  return allocate(pool, bytes * static_cast<std::size_t>(rows));
}

[[noreturn]] void refuse_target(const IoTensor& tensor, const Dims& shape, const Dims& target) {
  throw InputError(tensor.name + ": the result has shape " + shape.str() + ", but out= has shape " +
                   target.str());
}

// Sizes beyond dimension 0 that are dynamic fit any.
bool may_be(const Dims& shape, const Dims& expected) {
  return std::ranges::equal(shape, expected,
                            [](auto size, auto wanted) { return wanted < 0 || size == wanted; });
}

// Empty, or why these cannot be split into their rows.
std::string indivisible(std::span<const IoTensor> tensors, std::span<const OutputArray> outputs,
                        std::int64_t rows) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& shape = outputs[i].shape;
    if (shape.rank() > 0 && shape[0] == rows) continue;
    return tensors[i].name + ": cannot be split: the result of a batch of " + std::to_string(rows) +
           " samples has shape " + shape.str();
  }
  return "";
}

}  // namespace

void check_targets(const RunTensors& tensors, Request& request) {
  const auto outputs = request.outputs();
  for (std::size_t i = 0; i < tensors.outputs.size(); ++i) {
    const auto& output = outputs[i];
    const auto expected = with_rows(tensors.outputs[i].shape, request.inputs().front().shape[0]);
    if (output.target == nullptr || may_be(output.shape, expected)) continue;
    refuse_target(tensors.outputs[i], expected, output.shape);
  }
}

void run_directly(const RunTensors& tensors, Request& request, std::span<const InputArray> inputs,
                  Runner& runner) {
  runner.run(inputs, request.outputs());
  const auto problem = indivisible(tensors.outputs, request.outputs(), inputs.front().shape[0]);
  if (!problem.empty()) throw Error(problem);
}

StagedInputs stage(const RunTensors& tensors, std::span<const InputArray> inputs) {
  StagedInputs staged;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto bytes = nvinfer::byte_size(tensors.inputs[i].dtype, inputs[i].shape.volume());
    auto& block = staged.blocks.emplace_back(allocate(tensors.pool, bytes));
    copy(block.data(), inputs[i].data, bytes, tensors.copies);
    staged.arrays.push_back({block.data(), inputs[i].shape, Place::host});
  }
  return staged;
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): how large, and how many
void reserve(const RunTensors& tensors, std::int64_t rows, std::size_t batches) {
  std::vector<HostBuffer> blocks;  // given back together, or one block would serve all
  for (const auto& tensor : tensors.inputs) {
    if (!with_rows(tensor.shape, rows).known()) continue;
    const auto bytes = bytes_of_row(tensor, tensor.shape);
    for (std::size_t i = 0; i < batches; ++i) {
      blocks.push_back(allocate_rows(tensors.pool, rows, bytes));
    }
  }
}

Batch::Batch(const RunTensors& tensors, const Request& first, std::int64_t capacity)
    : tensors_(tensors), capacity_(capacity) {
  for (const auto& input : first.inputs()) samples_.push_back(with_rows(input.shape, 1));
}

bool Batch::matches(const Request& request) const noexcept {
  return std::ranges::equal(request.inputs(), samples_,
                            [](const InputArray& input, const Dims& sample) {
                              return with_rows(input.shape, 1) == sample;
                            });
}

void Batch::allocate_once() {
  const std::lock_guard lock(allocating_);
  if (!blocks_.empty()) return;
  std::vector<HostBuffer> blocks;
  blocks.reserve(samples_.size());
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    blocks.push_back(allocate_rows(tensors_.pool, capacity_, row_bytes(i)));
  }
  blocks_ = std::move(blocks);
}

void Batch::copy_in(std::span<const InputArray> inputs, std::int64_t offset, bool shared) {
  allocate_once();
  auto* const helpers = shared ? tensors_.copies : nullptr;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto bytes = row_bytes(i);
    const auto rows = static_cast<std::size_t>(inputs[i].shape[0]);
    copy(row_at(blocks_[i].data(), offset, bytes), inputs[i].data, rows * bytes, helpers);
  }
}

std::size_t Batch::row_bytes(std::size_t input) const noexcept {
  return bytes_of_row(tensors_.inputs[input], samples_[input]);
}

std::int64_t Batch::copied_rows() const noexcept {
  const auto gap = std::ranges::find(members, false, &Member::is_copied);
  return gap == members.end() ? rows : gap->offset;
}

void Batch::run(std::int64_t size, GatheredRun& run) {
  std::vector<InputArray> arrays;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const HostRows own{blocks_[i].data(), row_bytes(i), size};
    if (rows < size && !run.pad(i, own, rows)) repeat(own, rows);
    arrays.push_back({own.data, with_rows(samples_[i], size), Place::host});
  }
  outputs_.resize(tensors_.outputs.size());
  run.run(arrays, outputs_);
  problem_ = indivisible(tensors_.outputs, outputs_, size);
}

void Batch::take(const Member& member) const {
  if (!problem_.empty()) throw Error(problem_);
  const auto targets = member.request->outputs();
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const auto& all = outputs_[i];
    auto& own = targets[i];
    const auto shape = with_rows(all.shape, member.rows);
    const auto bytes = bytes_of_row(tensors_.outputs[i], shape);
    if (own.target == nullptr) {
      own.host = allocate_rows(tensors_.pool, member.rows, bytes);
    } else if (own.shape != shape) {
      refuse_target(tensors_.outputs[i], shape, own.shape);
    }
    own.shape = shape;
    copy_rows(own.data(), row_at(all.data(), member.offset, bytes), member.rows, bytes);
  }
}

void Batch::run_alone(const Member& member, Runner& runner) const {
  auto& request = *member.request;
  if (!member.is_copied) return run_directly(tensors_, request, request.inputs(), runner);
  std::vector<InputArray> arrays;  // its own may have changed
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    void* const rows = row_at(blocks_[i].data(), member.offset, row_bytes(i));
    arrays.push_back({rows, with_rows(samples_[i], member.rows), Place::host});
  }
  run_directly(tensors_, request, arrays, runner);
}

}  // namespace fasttrt::engine
