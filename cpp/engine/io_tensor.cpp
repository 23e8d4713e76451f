#include "engine/io_tensor.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

std::int64_t value_at(const void* data, DataType dtype, std::size_t index) {
  return dtype == DataType::int64 ? static_cast<const std::int64_t*>(data)[index]
                                  : static_cast<const std::int32_t*>(data)[index];
}

bool values_within(const IoTensor& input, const InputArray& array, const ProfileRange& range) {
  for (std::size_t i = 0; i < range.min_values.size(); ++i) {
    const auto value = value_at(array.data, input.dtype, i);
    if (value < range.min_values[i] || value > range.max_values[i]) return false;
  }
  return true;
}

bool accepts(const IoTensor& input, const InputArray& array, std::size_t profile) {
  const auto& range = input.profiles[profile];
  return within(array.shape, range) &&
         (!input.on_host || array.place != Place::host || values_within(input, array, range));
}

// How much more than the run at hand a profile is made for: the most that its inputs may hold, and
// of equals how far they may be below that, the values of shape tensors included.
std::pair<double, double> room(std::span<const IoTensor> inputs, std::size_t profile) {
  double most = 0;
  double spread = 0;
  for (const auto& input : inputs) {
    const auto& range = input.profiles[profile];
    const double largest = std::log1p(static_cast<double>(range.max.volume()));
    most += largest;
    spread += largest - std::log1p(static_cast<double>(range.min.volume()));
    for (std::size_t i = 0; i < range.min_values.size(); ++i) {
      spread += std::log1p(static_cast<double>(range.max_values[i]) -
                           static_cast<double>(range.min_values[i]));
    }
  }
  return {most, spread};
}

std::string list(std::span<const std::int64_t> values) {
  std::string text = "[";
  for (const auto value : values) text += (text.size() > 1 ? ", " : "") + std::to_string(value);
  return text + "]";
}

std::string describe(const ProfileRange& range) {
  if (!range.min_values.empty()) {
    return "values min " + list(range.min_values) + ", opt " + list(range.opt_values) + ", max " +
           list(range.max_values);
  }
  if (range.min == range.max) return range.min.str();
  return "min " + range.min.str() + ", opt " + range.opt.str() + ", max " + range.max.str();
}

// Whether a profile's range is a single shape that another one takes, too.
bool is_tuned_size(const ProfileRange& range, const ProfileRange& other) {
  return range.min_values.empty() && range.min == range.max && other.min != other.max &&
         within(range.min, other);
}

std::string describe_values(const IoTensor& input, const InputArray& array) {
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(array.shape.volume()));
  for (std::int64_t i = 0; i < array.shape.volume(); ++i) {
    values.push_back(value_at(array.data, input.dtype, static_cast<std::size_t>(i)));
  }
  return "values " + list(values);
}

[[noreturn]] void refuse(const IoTensor& input, const InputArray& array) {
  const bool shape_fits = std::ranges::any_of(
      input.profiles, [&](const ProfileRange& range) { return within(array.shape, range); });
  throw InputError(input.name + ": expected shape " + describe_range(input) + ", got " +
                   (shape_fits && input.on_host && array.place == Place::host
                        ? describe_values(input, array)
                        : array.shape.str()));
}

}  // namespace

bool within(const Dims& shape, const ProfileRange& range) {
  if (shape.rank() != range.min.rank()) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] < range.min[axis] || shape[axis] > range.max[axis]) return false;
  }
  return true;
}

Dims open_shape(const IoTensor& input) {
  Dims shape = input.shape;
  for (const auto& range : input.profiles) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const auto first = input.profiles.front().min[axis];
      if (range.min[axis] != first || range.max[axis] != first) shape[axis] = -1;
    }
  }
  return shape;
}

std::string describe_range(const IoTensor& input) {
  std::string text;
  for (std::size_t i = 0; i < input.profiles.size(); ++i) {
    const bool is_within_another = std::ranges::any_of(
        input.profiles,
        [&](const ProfileRange& other) { return is_tuned_size(input.profiles[i], other); });
    if (is_within_another) continue;
    const auto part = describe(input.profiles[i]);
    if (i > 0 && part == describe(input.profiles[i - 1])) continue;
    if (!text.empty()) text += "; or ";
    text += part;
  }
  return text;
}

std::size_t choose_profile(std::span<const IoTensor> inputs, std::span<const InputArray> arrays) {
  const std::size_t profiles = inputs.empty() ? 1 : inputs.front().profiles.size();
  std::optional<std::size_t> best;
  std::pair<double, double> least;
  for (std::size_t profile = 0; profile < profiles; ++profile) {
    bool fits = true;
    for (std::size_t i = 0; fits && i < inputs.size(); ++i) {
      fits = accepts(inputs[i], arrays[i], profile);
    }
    if (!fits) continue;
    if (profiles == 1) return profile;
    const auto room_here = room(inputs, profile);
    if (best && !(room_here < least)) continue;
    best = profile;
    least = room_here;
  }
  if (best) return *best;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    bool fits = false;
    for (std::size_t profile = 0; profile < profiles; ++profile) {
      fits = fits || accepts(inputs[i], arrays[i], profile);
    }
    if (!fits) refuse(inputs[i], arrays[i]);
  }
  std::string text = "no single profile takes these shapes together:";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    text +=
        " " + inputs[i].name + " " + arrays[i].shape.str() + " (" + describe_range(inputs[i]) + ")";
  }
  throw InputError(text);
}

}  // namespace fasttrt::engine
