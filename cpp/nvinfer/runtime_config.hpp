// RTX only: how an engine's contexts compile their kernels, and the cache of what they compiled:
// the vendor's IRuntimeConfig and IRuntimeCache.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "nvinfer/builder.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/object.hpp"

namespace fasttrt::nvinfer {

class CudaEngine;

// Compiled kernels. Not to be touched while a context that uses it may compile.
class RuntimeCache : public Object {
 public:
  using Object::Object;
  // Adds kernels, from serialize(). False where TensorRT refuses (made by another release, driver
  // or GPU), which is logged; the cache is unchanged.
  [[nodiscard]] bool deserialize(std::span<const std::byte> data);
  // Null on failure; TensorRT logs why.
  [[nodiscard]] std::unique_ptr<HostMemory> serialize() const;
};

// Contexts made with one config share the kernels that they compiled.
class RuntimeConfig : public Object {
 public:
  // Null where the library has none of it. cache: that of an earlier config, also of another engine
  // of the same plan; null for a new one.
  [[nodiscard]] static std::shared_ptr<RuntimeConfig> create(
      const std::shared_ptr<CudaEngine>& engine, std::shared_ptr<RuntimeCache> cache);

  using Object::Object;
  // When the kernels for a dynamic input's sizes are compiled, see enums.inc.
  void set_specialization(const Enumerator& strategy);
  // Contexts are lent their scratch memory, see ExecutionContext::set_scratch().
  void lend_scratch();
  [[nodiscard]] const std::shared_ptr<RuntimeCache>& cache() const noexcept { return cache_; }

 private:
  // The vendor's config only refers to it; contexts, which hold the config, need it.
  std::shared_ptr<RuntimeCache> cache_;
};

}  // namespace fasttrt::nvinfer
