// The part of Engine that serializes it, and tells what is in it.
#include <memory>
#include <mutex>
#include <string>

#include "common/error.hpp"
#include "engine/engine.hpp"
#include "engine/engine_access.hpp"
#include "nvinfer/inspector.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

int Engine::layer_count() const {
  const SharedAccess access(*this);
  return shared_.engine->layer_count();
}

std::string Engine::layer_information() const {
  const SharedAccess access(*this);
  return nvinfer::EngineInspector::create(shared_.engine)->layer_information();
}

std::unique_ptr<nvinfer::HostMemory> Engine::serialize(bool without_weights) const {
  const SharedAccess access(*this);
  if (!broken_.empty()) throw Error(broken_);
  const nvinfer::ErrorScope errors;
  auto memory = shared_.engine->serialize(without_weights);
  if (memory == nullptr) throw Error(errors.explain("the engine could not be serialized"));
  return memory;
}

std::unique_ptr<nvinfer::HostMemory> Engine::runtime_cache() {
  const SharedAccess access(*this);
  if (config_ == nullptr) return nullptr;
  const nvinfer::ErrorScope errors;
  // The same lock as around everything that may compile.
  const std::lock_guard lock(shared_.kernels->compiling);
  if (!shared_.kernels->has_news) return nullptr;
  auto memory = config_->cache()->serialize();
  if (memory == nullptr) throw Error(errors.explain("the runtime cache could not be serialized"));
  shared_.kernels->has_news = false;
  return memory;
}

}  // namespace fasttrt::engine
