// Typed handles for building: the vendor's IBuilder, INetworkDefinition, IBuilderConfig,
// IOptimizationProfile, ITimingCache, IHostMemory, ITensor and (what it gives) ILayer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/object.hpp"
#include "nvinfer/progress.hpp"

namespace fasttrt::nvinfer {

class HostMemory : public Object {
 public:
  using Object::Object;
  [[nodiscard]] std::span<const std::byte> bytes() const;
};

class TimingCache : public Object {
 public:
  using Object::Object;
};

// A network's tensor; the network owns it.
class Tensor : public ObjectRef {
 public:
  using ObjectRef::ObjectRef;
  [[nodiscard]] std::string name() const;
  [[nodiscard]] Dims dims() const;  // -1 for a dimension that is not known
  [[nodiscard]] DataType dtype() const;
  [[nodiscard]] bool is_shape_tensor() const;
  [[nodiscard]] std::string dimension_name(int axis) const;  // empty if it has none
};

class Network : public Object {
 public:
  using Object::Object;
  [[nodiscard]] int input_count() const;
  [[nodiscard]] int output_count() const;
  [[nodiscard]] int layer_count() const;
  [[nodiscard]] Tensor input(int index) const;
  [[nodiscard]] Tensor output(int index) const;
  [[nodiscard]] std::vector<Tensor> layer_outputs(int layer) const;
};

// The builder owns it.
class OptimizationProfile : public ObjectRef {
 public:
  using ObjectRef::ObjectRef;
  // False where TensorRT refuses; it logs why.
  [[nodiscard]] bool set_dimensions(const std::string& input, Selector selector, const Dims& dims);
  [[nodiscard]] bool set_shape_values(const std::string& input, Selector selector,
                                      std::span<const std::int64_t> values);
  [[nodiscard]] bool is_valid() const;
};

class BuilderConfig : public Object {
 public:
  using Object::Object;
  void set_flag(const Enumerator& flag, bool on);
  void set_workspace(std::size_t bytes);
  void set_optimization_level(int level);
  void set_profiling_verbosity(const Enumerator& verbosity);
  void set_hardware_compatibility(const Enumerator& level);
  void set_max_aux_streams(int count);
  void set_preview_feature(const Enumerator& feature, bool on);
  // RTX only. 75, 86, ... or 1 for that of the GPU here.
  void set_compute_capabilities(std::span<const std::int32_t> capabilities);
  // The monitor must outlive the config.
  void set_progress_monitor(ProgressMonitor& monitor);
  // Empty data makes an empty cache; null where TensorRT cannot use the data here.
  [[nodiscard]] std::unique_ptr<TimingCache> use_timing_cache(std::span<const std::byte> data);
  [[nodiscard]] std::unique_ptr<HostMemory> serialize_timing_cache() const;
  [[nodiscard]] bool add_profile(const OptimizationProfile& profile);
};

class Builder : public Object {
 public:
  // Throws BuildError, UnsupportedLibraryError (the lean runtime) or CudaError (no driver, where
  // the library needs one).
  [[nodiscard]] static std::shared_ptr<Builder> create(std::shared_ptr<const Library> library);

  using Object::Object;
  [[nodiscard]] static std::shared_ptr<Network> create_network(
      const std::shared_ptr<Builder>& builder);
  [[nodiscard]] static std::unique_ptr<BuilderConfig> create_config(
      const std::shared_ptr<Builder>& builder);
  [[nodiscard]] OptimizationProfile create_profile();
  // Null if the build failed or was stopped by the progress monitor.
  [[nodiscard]] std::unique_ptr<HostMemory> build(const Network& network,
                                                  const BuilderConfig& config);
};

}  // namespace fasttrt::nvinfer
