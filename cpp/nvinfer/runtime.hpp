// Typed handles for running: the vendor's IRuntime, ICudaEngine and IExecutionContext.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/stream.hpp"
#include "nvinfer/builder.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/object.hpp"
#include "nvinfer/output_allocator.hpp"
#include "nvinfer/profiler.hpp"
#include "nvinfer/runtime_config.hpp"

namespace fasttrt::nvinfer {

class Runtime : public Object {
 public:
  // Throws EngineLoadError, or CudaError where there is no working driver. The device on which
  // engines shall live must be current here and in every call that follows.
  [[nodiscard]] static std::shared_ptr<Runtime> create(std::shared_ptr<const Library> library);

  using Object::Object;
  // Lets plans that carry host code (the version-compatible ones) run it.
  void allow_engine_host_code();
};

class CudaEngine : public Object {
 public:
  // Null where TensorRT refuses the plan; it logs why.
  [[nodiscard]] static std::shared_ptr<CudaEngine> deserialize(
      const std::shared_ptr<Runtime>& runtime, std::span<const std::byte> plan);

  using Object::Object;
  [[nodiscard]] int layer_count() const;
  [[nodiscard]] int profile_count() const;
  [[nodiscard]] int tensor_count() const;
  [[nodiscard]] std::string tensor_name(int index) const;
  [[nodiscard]] bool is_input(const std::string& tensor) const;
  [[nodiscard]] bool is_on_host(const std::string& tensor) const;
  [[nodiscard]] DataType dtype(const std::string& tensor) const;
  [[nodiscard]] Dims shape(const std::string& tensor) const;  // -1 for a dynamic dimension
  // Empty for the plain row-major layout, else the vendor's description of it.
  [[nodiscard]] std::string unusual_format(const std::string& tensor) const;
  [[nodiscard]] Dims profile_shape(const std::string& input, int profile, Selector selector) const;
  // The values that a shape tensor may take; none where the library does not tell.
  [[nodiscard]] std::vector<std::int64_t> profile_values(const std::string& input, int profile,
                                                         Selector selector,
                                                         std::size_t count) const;
  // Null on failure; TensorRT logs why. without_weights: of an engine that can be refitted.
  [[nodiscard]] std::unique_ptr<HostMemory> serialize(bool without_weights) const;
  // The weights that may lie in host memory until they are needed, in bytes; 0 for an engine that
  // was not built for that.
  [[nodiscard]] std::int64_t streamable_weights_size() const;
  // How many bytes of them the GPU may hold; before there is a context. False where TensorRT
  // refuses.
  [[nodiscard]] bool set_weight_streaming_budget(std::int64_t bytes);
  // What a run needs besides weights, inputs and outputs, in any profile, in bytes.
  [[nodiscard]] std::size_t scratch_size() const;
};

// Who allocates what runs of a context need besides weights, inputs and outputs.
enum class ScratchMemory { own, lent };

class ExecutionContext : public Object {
 public:
  // Throws EngineLoadError or OutOfMemoryError. RTX compiles its kernels here. config may be null;
  // where it is not, it decides on the scratch memory. Lent: see set_scratch().
  [[nodiscard]] static std::unique_ptr<ExecutionContext> create(
      const std::shared_ptr<CudaEngine>& engine, const std::shared_ptr<RuntimeConfig>& config,
      ScratchMemory scratch = ScratchMemory::own);

  using Object::Object;
  // Lends it device memory of scratch_size(), before its first run. Contexts may share it that do
  // not run at once.
  void set_scratch(void* memory, std::size_t size);
  // Each is false where TensorRT refuses; it logs why.
  [[nodiscard]] bool set_profile(int profile, cuda::StreamRef stream);
  [[nodiscard]] bool set_input_shape(const std::string& input, const Dims& dims);
  [[nodiscard]] bool set_address(const std::string& tensor, void* address);
  [[nodiscard]] bool set_output_allocator(const std::string& output, OutputAllocator& allocator);
  // An upper bound of an output's size for the inputs' shapes, in bytes; -1 if there is none.
  [[nodiscard]] std::int64_t max_output_size(const std::string& output) const;
  [[nodiscard]] bool enqueue(cuda::StreamRef stream);
  // Empty if every input's shape (and shape values) is set and consistent, else an input that is
  // missing, or "?" for a contradiction.
  [[nodiscard]] std::optional<std::string> infer_shapes();
  // -1 for a dimension that depends on the data.
  [[nodiscard]] Dims shape(const std::string& tensor) const;
  // The profiler must outlive the context, or be replaced; null takes it away.
  void set_profiler(Profiler* profiler);
};

}  // namespace fasttrt::nvinfer
