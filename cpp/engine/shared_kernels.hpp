// The kernels that TensorRT-RTX has compiled for a plan: of one engine, or of all engines of the
// process that have one place in the cache on disk, on all GPUs of a kind: beside a cache that is
// in use, TensorRT-RTX 1.6.1 compiles what it read into another one again.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "nvinfer/dims.hpp"
#include "nvinfer/runtime_config.hpp"

namespace fasttrt::engine {

// A run's profile, and the shapes of its inputs.
using SizeKey = std::vector<nvinfer::Dims>;

struct SharedKernels {
  // Held while kernels may be compiled or looked up: TensorRT-RTX 1.6.1 crashed when two contexts
  // with one cache of kernels did so at once. Replays need no lock, nor do runs of sizes that their
  // context has run before: 100,000 of them beside 1,300 compilations were right (H200), and the
  // library locks the cache itself. It guards the members below, too.
  std::mutex compiling;
  // Reading and writing a cache is left out where it changes nothing: TensorRT-RTX 1.6.1 never
  // frees some 60 % of its size each time. So the latest caches are kept for the next engine.
  std::weak_ptr<nvinfer::RuntimeCache> cache;  // of the engines that are open
  std::shared_ptr<nvinfer::RuntimeCache> kept;
  std::set<SizeKey> sizes;  // that it has kernels for, as far as they were first run here
  bool has_news = true;     // whether it may have kernels that were not stored

  // Those with this key; an empty one is nobody else's. They are remembered while an engine has
  // them, and a number of others, too.
  [[nodiscard]] static std::shared_ptr<SharedKernels> get(const std::string& key);
};

}  // namespace fasttrt::engine
