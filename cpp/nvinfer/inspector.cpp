#include "nvinfer/inspector.hpp"

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::nvinfer {

std::unique_ptr<EngineInspector> EngineInspector::create(
    const std::shared_ptr<CudaEngine>& engine) {
  const ErrorScope errors;
  void* const object = engine->call(methods::engine_create_inspector);
  if (object == nullptr) throw Error(errors.explain("no engine inspector could be created"));
  return std::make_unique<EngineInspector>(engine->shared_library(), object, engine);
}

std::string EngineInspector::layer_information() const {
  const ErrorScope errors;
  const char* const text =
      call(methods::inspector_get_engine_information, fixed(enums::layer_information_json));
  if (text == nullptr) throw Error(errors.explain("the engine could not be inspected"));
  return text;
}

}  // namespace fasttrt::nvinfer
