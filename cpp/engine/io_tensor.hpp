// An engine's inputs and outputs: what they are called, hold and accept.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/array.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::engine {

using nvinfer::DataType;
using nvinfer::Dims;

// What one optimization profile allows for an input.
struct ProfileRange {
  Dims min;
  Dims opt;
  Dims max;
  // For a shape tensor: the values that it may hold. Empty where they are not known.
  std::vector<std::int64_t> min_values;
  std::vector<std::int64_t> opt_values;
  std::vector<std::int64_t> max_values;
};

struct IoTensor {
  std::string name;
  DataType dtype = DataType::float32;
  Dims shape;                          // -1 for a dimension that differs between runs
  bool on_host = false;                // a shape tensor: read and written by the host
  std::vector<ProfileRange> profiles;  // inputs only, one for each of the engine's profiles
};

// Whether an input may have this shape.
[[nodiscard]] bool within(const Dims& shape, const ProfileRange& range);

// The profile that every input fits, and of several the one with the least room beyond, so that
// the kernels tuned for few shapes serve them. Throws InputError that names the tensor, what the
// engine takes and what came. The values of shape tensors are looked at where they are on the host.
[[nodiscard]] std::size_t choose_profile(std::span<const IoTensor> inputs,
                                         std::span<const InputArray> arrays);

// An input's shape with -1 for what differs within or between its profiles, too: TensorRT reports
// that of the first.
[[nodiscard]] Dims open_shape(const IoTensor& input);

// As messages write an expectation: "(min (1, 3), opt (4, 3), max (8, 3))" or "(1, 3)". Profiles of
// one shape that another takes as well are left out.
[[nodiscard]] std::string describe_range(const IoTensor& input);

}  // namespace fasttrt::engine
