// Giving an engine other weights: the vendor's IRefitter, and the ONNX parser's IParserRefitter.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "nvinfer/object.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::nvinfer {

class Refitter : public Object {
 public:
  // Throws Error for an engine that was not built to be refitted.
  [[nodiscard]] static std::shared_ptr<Refitter> create(const std::shared_ptr<CudaEngine>& engine);

  using Object::Object;
  // Names of the weights that can be replaced, and of those that would have to be given too.
  [[nodiscard]] std::vector<std::string> all_weights() const;
  [[nodiscard]] std::vector<std::string> missing_weights() const;
  // Replaces the engine's weights by those given. Nothing may run meanwhile. On failure some of
  // them may have been replaced; TensorRT logs why.
  [[nodiscard]] bool apply();
};

// Reads weights from ONNX models and gives them to a refitter. They are this object's, so it has to
// live until they are applied.
class ParserRefitter : public Object {
 public:
  // Throws UnsupportedLibraryError where the library has none (8.6, the lean runtime).
  [[nodiscard]] static std::unique_ptr<ParserRefitter> create(
      const std::shared_ptr<Refitter>& refitter);

  using Object::Object;
  // As Parser's. False on failure, see issues().
  [[nodiscard]] bool read_file(const std::string& path);
  [[nodiscard]] bool read(std::span<const std::byte> model, const std::string& base);
  [[nodiscard]] std::vector<ParserIssue> issues() const;
};

}  // namespace fasttrt::nvinfer
