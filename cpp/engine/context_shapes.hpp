// What an execution context was told of the run at hand: a shape for each input.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/array.hpp"
#include "nvinfer/dims.hpp"

namespace fasttrt::engine {

// Spares a context what it knows already.
class ContextShapes {
 public:
  explicit ContextShapes(std::size_t inputs)
      : shapes_(inputs, nvinfer::Dims(nvinfer::Dims::unknown_rank)) {}

  // How often update() found other shapes, since the context was made.
  [[nodiscard]] std::size_t changes() const noexcept { return changes_; }

  // Calls set(index, shape) for each input whose shape the context does not have. An input for
  // which it throws counts as not set.
  template <class Set>
  void update(std::span<const InputArray> arrays, const Set& set) {
    if (!std::ranges::equal(shapes_, arrays, {}, {}, &InputArray::shape)) ++changes_;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      if (shapes_[i] == arrays[i].shape) continue;
      set(i, arrays[i].shape);
      shapes_[i] = arrays[i].shape;
    }
  }

  // Who knows what the context still has: the next update() sets all shapes.
  void forget() noexcept { std::ranges::fill(shapes_, nvinfer::Dims(nvinfer::Dims::unknown_rank)); }

  // There is a new context, which knows nothing.
  void reset() noexcept {
    forget();
    changes_ = 0;
  }

 private:
  std::vector<nvinfer::Dims> shapes_;
  std::size_t changes_ = 0;
};

}  // namespace fasttrt::engine
