// Requests that share one run: their rows side by side, and for each its own rows of the results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "common/copy_pool.hpp"
#include "engine/array.hpp"
#include "engine/host_buffer.hpp"
#include "engine/io_tensor.hpp"
#include "engine/request.hpp"
#include "engine/runner.hpp"

namespace fasttrt::engine {

// An engine's tensors, where memory for them is from, and who shares the copying of large ones.
struct RunTensors {
  std::span<const IoTensor> inputs;
  std::span<const IoTensor> outputs;
  std::shared_ptr<PinnedPool> pool;  // null: ordinary memory
  CopyPool* copies = nullptr;        // null: nobody
};

// Throws InputError for a target that no result will fit, as far as that is known before the run.
void check_targets(const RunTensors& tensors, Request& request);

// Runs the request alone, in these arrays. Throws Error if the results have other rows than the
// inputs, as a shared run does, so that an engine that cannot be batched shows it at once and not
// under load only.
void run_directly(const RunTensors& tensors, Request& request, std::span<const InputArray> inputs,
                  Runner& runner);

// Throws OutOfMemoryError.
[[nodiscard]] StagedInputs stage(const RunTensors& tensors, std::span<const InputArray> inputs);

// Sees to it that the pool has memory for so many batches at once, as locking pages takes
// milliseconds. Not for inputs whose samples vary in size.
void reserve(const RunTensors& tensors, std::int64_t rows, std::size_t batches);

class Batch {
 public:
  struct Member {
    RequestRef request;  // null: withdrawn
    std::int64_t offset = 0;
    std::int64_t rows = 0;
    bool is_copied = false;
  };

  // first: for the sizes beyond dimension 0. capacity: the most rows there will be, padding
  // included.
  Batch(const RunTensors& tensors, const Request& first, std::int64_t capacity);

  // Whether such a request may join: equal sizes beyond dimension 0.
  [[nodiscard]] bool matches(const Request& request) const noexcept;

  // Under the owner's lock, until it runs; then the worker's.
  std::vector<Member> members;
  std::int64_t rows = 0;

  // Copies a request's rows in, to where it has its place; from several threads at once. shared:
  // with the help of the tensors' copies. Throws OutOfMemoryError.
  void copy_in(std::span<const InputArray> inputs, std::int64_t offset, bool shared);
  // Rows that are there, of the first members without a gap.
  [[nodiscard]] std::int64_t copied_rows() const noexcept;
  // The rows of an input, once one member has been copied in.
  [[nodiscard]] void* block(std::size_t input) const noexcept { return blocks_[input].data(); }
  [[nodiscard]] std::size_t row_bytes(std::size_t input) const noexcept;

  // Runs all rows, which must be there, and padding up to `size`. Throws what the run throws, and
  // OutOfMemoryError.
  void run(std::int64_t size, GatheredRun& run);
  // Copies a member's results out, after the run. Throws InputError for a target of the wrong
  // shape, OutOfMemoryError, and Error for results that cannot be split.
  void take(const Member& member) const;
  // Runs a member alone, in place of the run. Throws as run_directly().
  void run_alone(const Member& member, Runner& runner) const;

 private:
  void allocate_once();

  const RunTensors& tensors_;
  std::vector<Dims> samples_;  // of the inputs, with 1 row
  const std::int64_t capacity_;
  std::mutex allocating_;
  std::vector<HostBuffer> blocks_;    // one an input
  std::vector<OutputArray> outputs_;  // of all members
  std::string problem_;               // why they cannot be split
};

}  // namespace fasttrt::engine
