// What TensorRT tells of the layers that it made of a network: the vendor's IEngineInspector.
#pragma once

#include <memory>
#include <string>

#include "nvinfer/object.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::nvinfer {

class EngineInspector : public Object {
 public:
  // Throws Error.
  [[nodiscard]] static std::unique_ptr<EngineInspector> create(
      const std::shared_ptr<CudaEngine>& engine);

  using Object::Object;
  // JSON, as detailed as the build's profiling verbosity made it. Throws Error.
  [[nodiscard]] std::string layer_information() const;
};

}  // namespace fasttrt::nvinfer
