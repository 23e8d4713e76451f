// One run of several calls: their rows side by side, and for each call its own rows of the results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/array.hpp"
#include "engine/host_buffer.hpp"
#include "engine/io_tensor.hpp"

namespace fasttrt::engine {

// Runs once. It allocates the results without a target.
using Run = std::function<void(std::span<const InputArray>, std::span<OutputArray>)>;

// An engine's tensors, and where memory for them is from; null: ordinary memory.
struct BatchTensors {
  std::span<const IoTensor> inputs;
  std::span<const IoTensor> outputs;
  std::shared_ptr<PinnedPool> pool;
};

// A call that takes part.
struct BatchMember {
  std::span<const InputArray> inputs;
  std::span<OutputArray> outputs;
  std::int64_t rows = 0;
  std::int64_t offset = 0;  // of its first row
};

// Throws InputError for a target that no result will fit, as far as that is known before the run.
void check_targets(const BatchTensors& tensors, const BatchMember& member);

// Runs the call in its own arrays. Throws Error if the results have other rows than the inputs, as
// a shared run does, so that an engine that cannot be batched shows it at once and not under load
// only.
void run_directly(const BatchTensors& tensors, const BatchMember& member, const Run& run);

class SharedRun {
 public:
  // first: the call at offset 0, whose arrays must stay until the others' rows are there. capacity:
  // the most rows there will be, padding included.
  SharedRun(const BatchTensors& tensors, const BatchMember& first, std::int64_t capacity)
      : tensors_(tensors), first_(first), capacity_(capacity) {}

  // Whether such a call may take part: equal sizes beyond dimension 0.
  [[nodiscard]] bool matches(const BatchMember& member) const noexcept;

  // Copies another call's rows in; from several threads at once. Throws OutOfMemoryError.
  void add(const BatchMember& member);

  // Runs `rows` rows, of the first call alone or of it and all that were added, and padding up to
  // `size`. Throws what Run throws, and OutOfMemoryError.
  void run(std::int64_t rows, const Run& run, std::int64_t size);

  // Copies a call's results out, after the run; from several threads at once. Throws InputError for
  // a target of the wrong shape, OutOfMemoryError, and Error for results that cannot be split.
  void take(const BatchMember& member) const;

  void free_inputs() noexcept { blocks_.clear(); }
  void free_outputs() noexcept { outputs_.clear(); }

 private:
  bool allocate_once(std::int64_t rows);
  void copy_in(const BatchMember& member);

  const BatchTensors& tensors_;
  const BatchMember first_;
  const std::int64_t capacity_;
  std::mutex mutex_;                  // for the making of the blocks
  std::vector<HostBuffer> blocks_;    // one an input
  std::vector<OutputArray> outputs_;  // of all calls
  std::string problem_;               // why they cannot be split
};

}  // namespace fasttrt::engine
