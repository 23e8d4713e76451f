#include "nvinfer/runtime_config.hpp"

#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::nvinfer {

bool RuntimeCache::deserialize(std::span<const std::byte> data) {
  const ErrorScope errors;
  if (call(methods::runtime_cache_deserialize, data.data(), data.size())) return true;
  const auto text = errors.explain(
      "the runtime cache does not fit this TensorRT, driver or GPU, or is damaged; kernels are "
      "compiled anew");
  Logger::instance().log(Severity::warning, text.c_str());
  return false;
}

std::unique_ptr<HostMemory> RuntimeCache::serialize() const {
  void* const object = call(methods::runtime_cache_serialize);
  if (object == nullptr) return nullptr;
  return std::make_unique<HostMemory>(shared_library(), object, nullptr);
}

std::shared_ptr<RuntimeConfig> RuntimeConfig::create(const std::shared_ptr<CudaEngine>& engine,
                                                     std::shared_ptr<RuntimeCache> cache) {
  if (!engine->has(methods::runtime_config_create_cache)) return nullptr;
  const ErrorScope errors;
  const auto& library = engine->shared_library();
  void* const object = engine->call(methods::engine_create_runtime_config);
  if (object == nullptr) {
    throw EngineLoadError(errors.explain("no runtime config could be created"));
  }
  struct Held {
    std::shared_ptr<CudaEngine> engine;
    std::shared_ptr<RuntimeCache> cache;
  };
  const auto held = std::make_shared<Held>(engine, nullptr);
  auto config = std::make_shared<RuntimeConfig>(library, object, held);
  if (cache == nullptr) {
    void* const kernels = config->call(methods::runtime_config_create_cache);
    if (kernels == nullptr) {
      throw EngineLoadError(errors.explain("no runtime cache could be created"));
    }
    cache = std::make_shared<RuntimeCache>(library, kernels, nullptr);
  }
  held->cache = cache;  // which goes after the config
  config->cache_ = std::move(cache);
  if (!config->call(methods::runtime_config_set_cache, config->cache_->get())) {
    throw EngineLoadError(errors.explain("the runtime cache was refused"));
  }
  return config;
}

void RuntimeConfig::set_specialization(const Enumerator& strategy) {
  call(methods::runtime_config_set_specialization, library().value(strategy));
}

void RuntimeConfig::lend_scratch() {
  call(methods::runtime_config_set_allocation, fixed(enums::allocation_user_managed));
}

}  // namespace fasttrt::nvinfer
