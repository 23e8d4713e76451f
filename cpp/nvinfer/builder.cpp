#include "nvinfer/builder.hpp"

#include <limits>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::nvinfer {
namespace {

template <class Handle>
std::unique_ptr<Handle> own(const Object& maker, void* object, std::shared_ptr<const void> parent) {
  if (object == nullptr) return nullptr;
  return std::make_unique<Handle>(maker.shared_library(), object, std::move(parent));
}

std::vector<std::int32_t> to_int32(std::span<const std::int64_t> values, const std::string& input) {
  std::vector<std::int32_t> narrow;
  narrow.reserve(values.size());
  for (const auto value : values) {
    if (value < std::numeric_limits<std::int32_t>::min() ||
        value > std::numeric_limits<std::int32_t>::max()) {
      throw InputError(input + ": the shape value " + std::to_string(value) +
                       " does not fit the 32 bits that this TensorRT has for it");
    }
    narrow.push_back(static_cast<std::int32_t>(value));
  }
  return narrow;
}

}  // namespace

std::span<const std::byte> HostMemory::bytes() const {
  return {static_cast<const std::byte*>(call(methods::host_memory_data)),
          call(methods::host_memory_size)};
}

std::string Tensor::name() const { return call(methods::tensor_get_name); }
Dims Tensor::dims() const { return call(methods::tensor_get_dimensions); }
DataType Tensor::dtype() const { return static_cast<DataType>(call(methods::tensor_get_type)); }
bool Tensor::is_shape_tensor() const { return call(methods::tensor_is_shape_tensor); }

std::string Tensor::dimension_name(int axis) const {
  const char* name = call(methods::tensor_get_dimension_name, axis);
  return name != nullptr ? name : "";
}

int Network::input_count() const { return call(methods::network_get_nb_inputs); }
int Network::output_count() const { return call(methods::network_get_nb_outputs); }
int Network::layer_count() const { return call(methods::network_get_nb_layers); }
Tensor Network::input(int index) const {
  return {&library(), call(methods::network_get_input, index)};
}
Tensor Network::output(int index) const {
  return {&library(), call(methods::network_get_output, index)};
}

std::vector<Tensor> Network::layer_outputs(int layer) const {
  const ObjectRef view(&library(), call(methods::network_get_layer, layer));
  std::vector<Tensor> outputs;
  for (std::int32_t i = 0; i < view.call(methods::layer_get_nb_outputs); ++i) {
    void* const tensor = view.call(methods::layer_get_output, i);
    if (tensor != nullptr) outputs.emplace_back(&library(), tensor);  // null: one that is optional
  }
  return outputs;
}

bool OptimizationProfile::set_dimensions(const std::string& input, Selector selector,
                                         const Dims& dims) {
  const auto which = static_cast<std::int32_t>(selector);
  if (has(methods::profile_set_dimensions)) {
    return call(methods::profile_set_dimensions, input.c_str(), which, dims);
  }
  (void)to_int32({dims.begin(), dims.end()}, input);
  return call(methods::profile_set_dimensions_copy, input.c_str(), which, dims);
}

bool OptimizationProfile::set_shape_values(const std::string& input, Selector selector,
                                           std::span<const std::int64_t> values) {
  const auto which = static_cast<std::int32_t>(selector);
  const auto count = static_cast<std::int32_t>(values.size());
  if (has(methods::profile_set_shape_values_v2)) {
    return call(methods::profile_set_shape_values_v2, input.c_str(), which, values.data(), count);
  }
  const auto narrow = to_int32(values, input);
  return call(methods::profile_set_shape_values, input.c_str(), which, narrow.data(), count);
}

bool OptimizationProfile::is_valid() const { return call(methods::profile_is_valid); }

void BuilderConfig::set_flag(const Enumerator& flag, bool on) {
  const auto value = library().value(flag);
  if (on) {
    call(methods::config_set_flag, value);
  } else {
    call(methods::config_clear_flag, value);
  }
}

void BuilderConfig::set_workspace(std::size_t bytes) {
  call(methods::config_set_memory_pool_limit, fixed(enums::memory_pool_workspace), bytes);
}

void BuilderConfig::set_optimization_level(int level) {
  call(methods::config_set_optimization_level, level);
}

void BuilderConfig::set_profiling_verbosity(const Enumerator& verbosity) {
  call(methods::config_set_profiling_verbosity, library().value(verbosity));
}

void BuilderConfig::set_hardware_compatibility(const Enumerator& level) {
  call(methods::config_set_hardware_compatibility, library().value(level));
}

void BuilderConfig::set_max_aux_streams(int count) {
  if (!has(methods::config_set_max_aux_streams)) {
    call(methods::config_set_max_aux_streams_unchecked, count);
    return;
  }
  const ErrorScope errors;
  if (!call(methods::config_set_max_aux_streams, count)) {
    throw BuildError(errors.explain("max_aux_streams=" + std::to_string(count) + " was refused"));
  }
}

void BuilderConfig::set_preview_feature(const Enumerator& feature, bool on) {
  call(methods::config_set_preview_feature, library().value(feature), on);
}

void BuilderConfig::set_compute_capabilities(std::span<const std::int32_t> capabilities) {
  const ErrorScope errors;
  const auto count = static_cast<std::int32_t>(capabilities.size());
  bool accepted = call(methods::config_set_nb_compute_capabilities, count);
  for (std::int32_t i = 0; accepted && i < count; ++i) {
    accepted =
        call(methods::config_set_compute_capability, capabilities[static_cast<std::size_t>(i)], i);
  }
  if (!accepted) throw BuildError(errors.explain("compute_capabilities were refused"));
}

void BuilderConfig::set_progress_monitor(ProgressMonitor& monitor) {
  call(methods::config_set_progress_monitor, monitor.vendor_interface());
}

std::unique_ptr<TimingCache> BuilderConfig::use_timing_cache(std::span<const std::byte> data) {
  auto cache = own<TimingCache>(
      *this, call(methods::config_create_timing_cache, data.data(), data.size()), nullptr);
  constexpr bool ignore_mismatch = false;  // another GPU's timings would mislead the build
  if (cache != nullptr && !call(methods::config_set_timing_cache, cache->get(), ignore_mismatch)) {
    cache.reset();
  }
  return cache;
}

std::unique_ptr<HostMemory> BuilderConfig::serialize_timing_cache() const {
  void* const cache = call(methods::config_get_timing_cache);
  if (cache == nullptr) return nullptr;
  const ObjectRef view(&library(), cache);
  return own<HostMemory>(*this, view.call(methods::timing_cache_serialize), nullptr);
}

bool BuilderConfig::add_profile(const OptimizationProfile& profile) {
  return call(methods::config_add_profile, profile.get()) >= 0;
}

std::shared_ptr<Builder> Builder::create(std::shared_ptr<const Library> library) {
  const ErrorScope errors;
  void* const object = library->create_builder();
  if (object == nullptr) {
    throw BuildError(errors.explain(library->str() + " could not create a builder"));
  }
  return std::make_shared<Builder>(std::move(library), object, nullptr);
}

std::shared_ptr<Network> Builder::create_network(const std::shared_ptr<Builder>& builder) {
  // Where implicit batch dimensions still exist, ONNX needs explicit ones; where types may still be
  // chosen by the builder, they shall be the ONNX graph's, as everywhere from v11 on.
  std::uint32_t flags = 0;
  for (const auto* flag :
       {&enums::network_flag_explicit_batch, &enums::network_flag_strongly_typed}) {
    if (builder->library().has(*flag)) flags |= 1U << builder->library().value(*flag);
  }
  const ErrorScope errors;
  void* const object = builder->call(methods::builder_create_network, flags);
  if (object == nullptr) throw BuildError(errors.explain("no network could be created"));
  return own<Network>(*builder, object, builder);
}

std::unique_ptr<BuilderConfig> Builder::create_config(const std::shared_ptr<Builder>& builder) {
  const ErrorScope errors;
  void* const object = builder->call(methods::builder_create_config);
  if (object == nullptr) throw BuildError(errors.explain("no builder config could be created"));
  return own<BuilderConfig>(*builder, object, builder);
}

OptimizationProfile Builder::create_profile() {
  const ErrorScope errors;
  void* const object = call(methods::builder_create_profile);
  if (object == nullptr) throw BuildError(errors.explain("no profile could be created"));
  return {&library(), object};
}

std::unique_ptr<HostMemory> Builder::build(const Network& network, const BuilderConfig& config) {
  return own<HostMemory>(
      *this, call(methods::builder_build_serialized, network.get(), config.get()), nullptr);
}

}  // namespace fasttrt::nvinfer
