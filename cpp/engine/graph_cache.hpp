// The runs that a session has made, and their CUDA graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cuda/graph.hpp"
#include "nvinfer/dims.hpp"

namespace fasttrt::engine {

// A run with given shapes and addresses, once made and perhaps captured for replay.
struct CapturedRun {
  std::vector<std::int64_t> key;
  std::vector<nvinfer::Dims> output_shapes;
  cuda::GraphExec graph;  // empty until captured
};

// The latest of them; the one that was not used for longest goes first.
class GraphCache {
 public:
  // Null if there is none. Valid until the next add() or clear().
  [[nodiscard]] CapturedRun* find(std::span<const std::int64_t> key) noexcept;
  CapturedRun& add(std::span<const std::int64_t> key, std::vector<nvinfer::Dims> output_shapes);
  void clear() noexcept { list_.clear(); }
  // Drops the runs whose key begins with this number.
  void forget(std::int64_t first) noexcept;

 private:
  std::vector<std::unique_ptr<CapturedRun>> list_;  // the latest first
};

}  // namespace fasttrt::engine
