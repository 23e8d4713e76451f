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
  // False where TensorRT refuses (made by another release, driver or GPU); the cache is unchanged.
  [[nodiscard]] bool deserialize(std::span<const std::byte> data);
  // Null on failure; TensorRT logs why.
  [[nodiscard]] std::unique_ptr<HostMemory> serialize() const;
};

// Contexts made with one config share the kernels that they compiled.
class RuntimeConfig : public Object {
 public:
  // Null where the library has none of it. cache: kernels to begin with, from
  // RuntimeCache::serialize(), or empty; where they do not fit here the log says so.
  [[nodiscard]] static std::shared_ptr<RuntimeConfig> create(
      const std::shared_ptr<CudaEngine>& engine, std::span<const std::byte> cache);

  using Object::Object;
  // When the kernels for a dynamic input's sizes are compiled, see enums.inc.
  void set_specialization(const Enumerator& strategy);
  // Contexts are lent their scratch memory, see ExecutionContext::set_scratch().
  void lend_scratch();
  [[nodiscard]] const RuntimeCache& cache() const noexcept { return *cache_; }

 private:
  // The vendor's config only refers to it, so what the config holds owns it.
  const RuntimeCache* cache_ = nullptr;
};

}  // namespace fasttrt::nvinfer
