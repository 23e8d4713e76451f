#include "engine/output_shapes.hpp"

#include <algorithm>
#include <cstddef>

namespace fasttrt::engine {
namespace {

using Shapes = std::vector<Dims>;  // one an input

Shapes ends_of(std::span<const IoTensor> inputs, std::size_t profile, Dims ProfileRange::* end) {
  Shapes shapes;
  for (const auto& input : inputs) shapes.push_back(input.profiles[profile].*end);
  return shapes;
}

double volume(const Shapes& shapes) {
  double product = 1;
  for (const auto& shape : shapes) product *= static_cast<double>(shape.volume()) + 1;
  return product;
}

// Between the least and the largest sizes that the outputs' shapes are known for. An output's
// dimension that differs in between differs at the ends, too.
class KnownRange {
 public:
  KnownRange(Shapes min, Shapes max) : min_(std::move(min)), max_(std::move(max)) {}

  [[nodiscard]] bool has(const Shapes& shapes) const {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (!std::ranges::equal(shapes[i], min_[i], std::greater_equal{}) ||
          !std::ranges::equal(shapes[i], max_[i], std::less_equal{})) {
        return false;
      }
    }
    return true;
  }
  void add(const Shapes& shapes) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      for (int axis = 0; axis < shapes[i].rank(); ++axis) {
        min_[i][axis] = std::min(min_[i][axis], shapes[i][axis]);
        max_[i][axis] = std::max(max_[i][axis], shapes[i][axis]);
      }
    }
  }

 private:
  Shapes min_, max_;
};

void merge(Dims& shape, const Dims& other) {
  for (int axis = 0; axis < std::min(shape.rank(), other.rank()); ++axis) {
    if (shape[axis] != other[axis]) shape[axis] = -1;
  }
}

}  // namespace

void open_output_shapes(std::span<const IoTensor> inputs, std::span<IoTensor> outputs,
                        const InferShapes& infer) {
  if (inputs.empty() || inputs.front().profiles.size() < 2) return;
  KnownRange known(ends_of(inputs, 0, &ProfileRange::min), ends_of(inputs, 0, &ProfileRange::max));
  std::vector<Shapes> ends;
  for (std::size_t profile = 1; profile < inputs.front().profiles.size(); ++profile) {
    ends.push_back(ends_of(inputs, profile, &ProfileRange::min));
    ends.push_back(ends_of(inputs, profile, &ProfileRange::max));
  }
  // The largest first, then the smallest, which leaves few outside.
  std::ranges::sort(ends, {}, volume);
  std::ranges::rotate(ends, std::prev(ends.end()));
  for (const auto& shapes : ends) {
    if (known.has(shapes)) continue;
    const auto found = infer(shapes);
    for (std::size_t i = 0; i < outputs.size(); ++i) merge(outputs[i].shape, found[i]);
    known.add(shapes);
  }
}

}  // namespace fasttrt::engine
