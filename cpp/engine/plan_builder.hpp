// From an ONNX model to a serialized engine (a plan).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/device.hpp"
#include "engine/io_tensor.hpp"
#include "nvinfer/builder.hpp"
#include "nvinfer/library.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/parser.hpp"
#include "nvinfer/progress.hpp"

namespace fasttrt::engine {

// A network's input or output before the build.
struct NetworkTensor {
  std::string name;
  DataType dtype = DataType::float32;
  Dims shape;
  std::vector<std::string> dimension_names;  // one an axis, empty where there is none
  bool is_shape_tensor = false;
};

// An input's shape (or, for a shape tensor, its values) in one profile.
struct InputRange {
  std::string name;
  std::vector<std::int64_t> min;
  std::vector<std::int64_t> opt;
  std::vector<std::int64_t> max;
};
using Profile = std::vector<InputRange>;

// What is not given stays as the library has it. Where the library lacks an option, build() throws
// BuildError with its name.
struct BuildOptions {
  std::optional<std::size_t> workspace;  // bytes
  std::optional<int> optimization_level;
  std::optional<int> max_aux_streams;
  std::string profiling_verbosity = "names";    // or "none", "detailed"
  std::string hardware_compatibility = "none";  // or "ampere_plus", "same_compute_capability"
  bool version_compatible = false;
  bool exclude_lean_runtime = false;
  bool refit = false;
  bool strip_weights = false;  // leave out those that can be refitted
  bool weight_streaming = false;
  bool tf32 = true;
  bool fp16 = false;       // v8 alone: let layers compute in float16
  bool quantized = false;  // the model has Quantize/DequantizeLinear; v8 wants to be told
  std::vector<std::int32_t> compute_capabilities;  // 75, 86, ...; 1 for that of the GPU here
  bool use_timing_cache = false;
  std::vector<std::byte> timing_cache;
};

struct BuiltPlan {
  std::unique_ptr<nvinfer::HostMemory> plan;
  std::unique_ptr<nvinfer::HostMemory> timing_cache;  // null unless asked for
};

class PlanBuilder {
 public:
  // device: the GPU to build for; none where there is no GPU (TensorRT-RTX alone builds there).
  // Throws UnsupportedLibraryError, CudaError or BuildError.
  PlanBuilder(std::shared_ptr<const nvinfer::Library> library, std::optional<int> device);
  ~PlanBuilder();
  PlanBuilder(const PlanBuilder&) = delete;
  PlanBuilder& operator=(const PlanBuilder&) = delete;

  // Once, one of the two. Throws ParseError with all that the parser refused. In generation v8 the
  // issues lack the nodes' names and operators.
  void parse_file(const std::string& path);
  void parse(std::span<const std::byte> model, const std::string& base);

  [[nodiscard]] std::vector<NetworkTensor> inputs() const;
  [[nodiscard]] std::vector<NetworkTensor> outputs() const;
  [[nodiscard]] int layer_count() const;
  // How many of the layers' outputs have each type. Where the network is strongly typed (all but
  // v8), the engine computes in these.
  [[nodiscard]] std::map<DataType, int> tensor_types() const;
  [[nodiscard]] bool can_cancel() const;

  // profiles: none for a network without dynamic inputs. Throws BuildError with TensorRT's error
  // lines, InputError for ranges that are refused, BuildInterrupted if the listener cancelled.
  [[nodiscard]] BuiltPlan build(const BuildOptions& options, std::span<const Profile> profiles,
                                nvinfer::ProgressListener& listener);

 private:
  void check(bool parsed, const nvinfer::ErrorScope& errors, const std::string& what) const;
  void apply(const BuildOptions& options, nvinfer::BuilderConfig& config) const;
  [[nodiscard]] Profile fixed_profile() const;
  void add_profile(const Profile& profile, nvinfer::BuilderConfig& config);
  [[nodiscard]] nvinfer::Tensor find_input(const std::string& name) const;

  std::shared_ptr<const nvinfer::Library> library_;
  std::shared_ptr<cuda::PrimaryContext> device_;
  std::shared_ptr<nvinfer::Builder> builder_;
  std::shared_ptr<nvinfer::Network> network_;
  std::unique_ptr<nvinfer::Parser> parser_;  // holds the weights until the build is over
};

}  // namespace fasttrt::engine
