// What batches an engine takes: of which tensors, and of how many samples.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/array.hpp"
#include "engine/io_tensor.hpp"

namespace fasttrt::engine {

struct BatchingOptions {
  std::int64_t max_size = 1;               // samples that share a run at most
  std::chrono::microseconds max_delay{0};  // how long a call waits for others to join it
  // The sizes that are run, ascending, the last no less than max_size: a batch is padded up to the
  // next of them that the profiles take. Few sizes are few shapes to prepare for.
  std::vector<std::int64_t> sizes{1};
};

// Throws InputError for options that contradict themselves or an engine that cannot be batched,
// naming the tensor.
void check_batching(std::span<const IoTensor> inputs, std::span<const IoTensor> outputs,
                    const BatchingOptions& options);

// Of the sizes, those that some profile takes for samples like these.
[[nodiscard]] std::vector<std::int64_t> usable_sizes(std::span<const IoTensor> inputs,
                                                     std::span<const InputArray> samples,
                                                     std::span<const std::int64_t> sizes);

// The first of the sizes that holds so many. There must be one.
[[nodiscard]] std::int64_t padded_size(std::span<const std::int64_t> sizes, std::int64_t rows);

[[nodiscard]] inline Dims with_rows(Dims shape, std::int64_t rows) {
  shape[0] = rows;
  return shape;
}

}  // namespace fasttrt::engine
