#include "engine/batching.hpp"

#include <algorithm>
#include <functional>
#include <string>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

constexpr auto longest_delay = std::chrono::hours(24);  // far from the clock's overflow

bool takes_rows(const ProfileRange& range, std::int64_t rows) {
  return range.min[0] <= rows && rows <= range.max[0];
}

template <class Fits>  // bool(index of the input, its range)
bool some_profile(std::span<const IoTensor> inputs, Fits fits) {
  for (std::size_t profile = 0; profile < inputs.front().profiles.size(); ++profile) {
    bool all = true;
    for (std::size_t i = 0; all && i < inputs.size(); ++i) {
      all = fits(i, inputs[i].profiles[profile]);
    }
    if (all) return true;
  }
  return false;
}

void check_tensor(const IoTensor& tensor) {
  const auto refuse = [&](const std::string& reason) {
    throw InputError(tensor.name + ": cannot be batched: " + reason);
  };
  if (tensor.on_host) refuse("it is a shape tensor");
  if (tensor.shape.rank() < 1 || tensor.shape[0] != -1) {
    refuse("its dimension 0 is not dynamic, the shape is " + tensor.shape.str());
  }
  const int bits = nvinfer::bits_per_element(tensor.dtype);
  if (bits == 0 || bits % 8 != 0) {
    refuse("rows of " + std::string(nvinfer::dtype_name(tensor.dtype)) + " share bytes");
  }
}

void check_options(std::span<const IoTensor> inputs, const BatchingOptions& options) {
  const auto& sizes = options.sizes;
  if (options.max_size < 1) throw InputError("a batch holds at least one sample");
  if (options.max_delay.count() < 0 || options.max_delay > longest_delay) {
    throw InputError("a batch's delay is between 0 and 24 hours");
  }
  if (sizes.empty() || sizes.front() < 1 || sizes.back() < options.max_size ||
      std::ranges::adjacent_find(sizes, std::greater_equal{}) != sizes.end()) {
    throw InputError("batch sizes are positive, ascending, and reach the largest batch");
  }
  const auto most = padded_size(sizes, options.max_size);
  if (some_profile(inputs, [&](auto, const auto& range) { return takes_rows(range, most); })) {
    return;
  }
  const auto text = "a batch of " + std::to_string(most) + " samples fits no profile";
  for (const auto& input : inputs) {
    if (std::ranges::any_of(input.profiles, [&](auto& r) { return takes_rows(r, most); })) continue;
    throw InputError(input.name + ": " + text + ": " + describe_range(input));
  }
  throw InputError(text + " that every input has");
}

}  // namespace

void check_batching(std::span<const IoTensor> inputs, std::span<const IoTensor> outputs,
                    const BatchingOptions& options) {
  if (inputs.empty()) throw InputError("an engine without inputs cannot be batched");
  for (const auto tensors : {inputs, outputs}) std::ranges::for_each(tensors, check_tensor);
  check_options(inputs, options);
}

std::vector<std::int64_t> usable_sizes(std::span<const IoTensor> inputs,
                                       std::span<const InputArray> samples,
                                       std::span<const std::int64_t> sizes) {
  std::vector<std::int64_t> usable;
  std::ranges::copy_if(sizes, std::back_inserter(usable), [&](auto size) {
    return some_profile(inputs, [&](std::size_t i, const ProfileRange& range) {
      return within(with_rows(samples[i].shape, size), range);
    });
  });
  return usable;
}

std::int64_t padded_size(std::span<const std::int64_t> sizes, std::int64_t rows) {
  return *std::ranges::lower_bound(sizes, rows);
}

}  // namespace fasttrt::engine
