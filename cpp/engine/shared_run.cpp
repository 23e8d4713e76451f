#include "engine/shared_run.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/error.hpp"
#include "engine/batching.hpp"

namespace fasttrt::engine {
namespace {

// Results below this are not worth a page-locked block of the pool.
constexpr std::size_t min_pinned_bytes = std::size_t{64} << 10;

std::size_t row_bytes(const IoTensor& tensor, const Dims& shape) {
  return nvinfer::byte_size(tensor.dtype, with_rows(shape, 1).volume());
}

// The memory of one row.
void* row_at(void* rows, std::int64_t index, std::size_t bytes) {
  return static_cast<std::byte*>(rows) + static_cast<std::size_t>(index) * bytes;
}

void copy_rows(void* dst, const void* src, std::int64_t rows, std::size_t bytes) {
  if (bytes > 0) std::memcpy(dst, src, static_cast<std::size_t>(rows) * bytes);
}

HostBuffer allocate(const std::shared_ptr<PinnedPool>& pool, std::int64_t rows, std::size_t bytes) {
  bytes *= static_cast<std::size_t>(rows);
  if (pool == nullptr || bytes < min_pinned_bytes) return HostBuffer(bytes);
  return {pool, bytes};
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

void check_targets(const BatchTensors& tensors, const BatchMember& member) {
  for (std::size_t i = 0; i < tensors.outputs.size(); ++i) {
    const auto& output = member.outputs[i];
    const auto expected = with_rows(tensors.outputs[i].shape, member.rows);
    if (output.target == nullptr || may_be(output.shape, expected)) continue;
    refuse_target(tensors.outputs[i], expected, output.shape);
  }
}

void run_directly(const BatchTensors& tensors, const BatchMember& member, const Run& run) {
  run(member.inputs, member.outputs);
  const auto problem = indivisible(tensors.outputs, member.outputs, member.rows);
  if (!problem.empty()) throw Error(problem);
}

bool SharedRun::matches(const BatchMember& member) const noexcept {
  return std::ranges::equal(first_.inputs, member.inputs,
                            [](const InputArray& a, const InputArray& b) {
                              return with_rows(a.shape, 0) == with_rows(b.shape, 0);
                            });
}

// The first to come brings the first call's rows too: that one may be waiting for a session, and
// without others it may need no blocks.
void SharedRun::add(const BatchMember& member) {
  if (allocate_once(capacity_)) copy_in(first_);
  copy_in(member);
}

// False where the blocks are there already.
bool SharedRun::allocate_once(std::int64_t rows) {
  const std::lock_guard lock(mutex_);
  if (!blocks_.empty()) return false;
  std::vector<HostBuffer> blocks;
  for (std::size_t i = 0; i < tensors_.inputs.size(); ++i) {
    const auto bytes = row_bytes(tensors_.inputs[i], first_.inputs[i].shape);
    blocks.push_back(allocate(tensors_.pool, rows, bytes));
  }
  blocks_ = std::move(blocks);
  return true;
}

void SharedRun::copy_in(const BatchMember& member) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto bytes = row_bytes(tensors_.inputs[i], member.inputs[i].shape);
    void* rows = row_at(blocks_[i].data(), member.offset, bytes);
    copy_rows(rows, member.inputs[i].data, member.rows, bytes);
  }
}

void SharedRun::run(std::int64_t rows, const Run& run, std::int64_t size) {
  if (allocate_once(size)) copy_in(first_);
  std::vector<InputArray> arrays;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto& shape = first_.inputs[i].shape;
    const auto bytes = row_bytes(tensors_.inputs[i], shape);
    void* block = blocks_[i].data();
    // Padding is real data: whatever else the memory holds may be slow to compute with, or as an
    // index lead anywhere.
    for (auto row = rows; row < size; ++row) copy_rows(row_at(block, row, bytes), block, 1, bytes);
    arrays.push_back({block, with_rows(shape, size), Place::host});
  }
  outputs_.resize(tensors_.outputs.size());
  run(arrays, outputs_);
  problem_ = indivisible(tensors_.outputs, outputs_, size);
}

void SharedRun::take(const BatchMember& member) const {
  if (!problem_.empty()) throw Error(problem_);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const auto& all = outputs_[i];
    auto& own = member.outputs[i];
    const auto shape = with_rows(all.shape, member.rows);
    const auto bytes = row_bytes(tensors_.outputs[i], shape);
    if (own.target == nullptr) {
      own.host = allocate(tensors_.pool, member.rows, bytes);
    } else if (own.shape != shape) {
      refuse_target(tensors_.outputs[i], shape, own.shape);
    }
    own.shape = shape;
    copy_rows(own.data(), row_at(all.data(), member.offset, bytes), member.rows, bytes);
  }
}

}  // namespace fasttrt::engine
