#include "nvinfer/runtime.hpp"

#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::nvinfer {

std::shared_ptr<Runtime> Runtime::create(std::shared_ptr<const Library> library) {
  const ErrorScope errors;
  void* const object = library->create_runtime();
  if (object == nullptr) {
    throw EngineLoadError(errors.explain(library->str() + " could not create a runtime"));
  }
  return std::make_shared<Runtime>(std::move(library), object, nullptr);
}

void Runtime::allow_engine_host_code() {
  call(methods::runtime_set_engine_host_code_allowed, true);
}

std::shared_ptr<CudaEngine> CudaEngine::deserialize(const std::shared_ptr<Runtime>& runtime,
                                                    std::span<const std::byte> plan) {
  // v8 wants a plugin factory, which must be null.
  void* const object = runtime->has(methods::runtime_deserialize)
                           ? runtime->call(methods::runtime_deserialize, plan.data(), plan.size())
                           : runtime->call(methods::runtime_deserialize_with_factory, plan.data(),
                                           plan.size(), nullptr);
  if (object == nullptr) return nullptr;
  return std::make_shared<CudaEngine>(runtime->shared_library(), object, runtime);
}

int CudaEngine::layer_count() const { return call(methods::engine_get_nb_layers); }
int CudaEngine::profile_count() const { return call(methods::engine_get_nb_profiles); }
int CudaEngine::tensor_count() const { return call(methods::engine_get_nb_io_tensors); }

std::string CudaEngine::tensor_name(int index) const {
  return call(methods::engine_get_io_tensor_name, index);
}

bool CudaEngine::is_input(const std::string& tensor) const {
  return call(methods::engine_get_tensor_mode, tensor.c_str()) == fixed(enums::io_input);
}

bool CudaEngine::is_on_host(const std::string& tensor) const {
  return call(methods::engine_get_tensor_location, tensor.c_str()) == fixed(enums::location_host);
}

DataType CudaEngine::dtype(const std::string& tensor) const {
  return static_cast<DataType>(call(methods::engine_get_tensor_type, tensor.c_str()));
}

Dims CudaEngine::shape(const std::string& tensor) const {
  return call(methods::engine_get_tensor_shape, tensor.c_str());
}

std::string CudaEngine::unusual_format(const std::string& tensor) const {
  if (call(methods::engine_get_tensor_format, tensor.c_str()) == fixed(enums::format_linear)) {
    return "";
  }
  return call(methods::engine_get_tensor_format_text, tensor.c_str());
}

Dims CudaEngine::profile_shape(const std::string& input, int profile, Selector selector) const {
  return call(methods::engine_get_profile_shape, input.c_str(), profile,
              static_cast<std::int32_t>(selector));
}

std::vector<std::int64_t> CudaEngine::profile_values(const std::string& input, int profile,
                                                     Selector selector, std::size_t count) const {
  const auto which = static_cast<std::int32_t>(selector);
  if (has(methods::engine_get_profile_values_v2)) {
    const auto* values = call(methods::engine_get_profile_values_v2, input.c_str(), profile, which);
    if (values == nullptr) return {};
    return {values, values + count};
  }
  const std::int32_t* values = nullptr;
  if (has(methods::engine_get_profile_values)) {
    values = call(methods::engine_get_profile_values, input.c_str(), profile, which);
  } else {
    // v8 counts every tensor once for each profile.
    const int per_profile = call(methods::engine_get_nb_bindings) / profile_count();
    const int binding = call(methods::engine_get_binding_index, input.c_str());
    values = call(methods::engine_get_profile_shape_values, profile,
                  binding + profile * per_profile, which);
  }
  if (values == nullptr) return {};
  return {values, values + count};
}

std::unique_ptr<HostMemory> CudaEngine::serialize(bool without_weights) const {
  const auto own = [&](void* object) {
    return object == nullptr ? nullptr
                             : std::make_unique<HostMemory>(shared_library(), object, nullptr);
  };
  if (!without_weights) return own(call(methods::engine_serialize));
  const ErrorScope errors;
  void* const object = call(methods::engine_create_serialization_config);
  if (object == nullptr) throw Error(errors.explain("no serialization config could be created"));
  const Object config(shared_library(), object, nullptr);
  if (!config.call(methods::serialization_config_set_flag,
                   library().value(enums::serialization_exclude_weights))) {
    return nullptr;
  }
  return own(call(methods::engine_serialize_with_config, object));
}

std::int64_t CudaEngine::streamable_weights_size() const {
  return call(methods::engine_get_streamable_weights_size);
}

bool CudaEngine::set_weight_streaming_budget(std::int64_t bytes) {
  return call(methods::engine_set_weight_streaming_budget, bytes);
}

std::size_t CudaEngine::scratch_size() const {
  if (has(methods::engine_get_device_memory_size_v2)) {
    return static_cast<std::size_t>(call(methods::engine_get_device_memory_size_v2));
  }
  return call(methods::engine_get_device_memory_size);
}

namespace {

void* create_context(const CudaEngine& engine, const RuntimeConfig* config, ScratchMemory scratch) {
  if (config != nullptr) {
    return engine.call(methods::engine_create_context_with_config, config->get());
  }
  const bool is_own = scratch == ScratchMemory::own;
  if (engine.has(methods::engine_create_context_with_strategy)) {
    return engine.call(
        methods::engine_create_context_with_strategy,
        is_own ? fixed(enums::allocation_static) : fixed(enums::allocation_user_managed));
  }
  return engine.call(is_own ? methods::engine_create_context
                            : methods::engine_create_context_no_memory);
}

}  // namespace

std::unique_ptr<ExecutionContext> ExecutionContext::create(
    const std::shared_ptr<CudaEngine>& engine, const std::shared_ptr<RuntimeConfig>& config,
    ScratchMemory scratch) {
  const ErrorScope errors;
  void* const object = create_context(*engine, config.get(), scratch);
  if (object == nullptr) {
    const auto text = errors.explain("no execution context could be created");
    const bool memory =
        text.find("emory") != std::string::npos && text.find("lloc") != std::string::npos;
    if (memory) throw OutOfMemoryError(text);
    throw EngineLoadError(text);
  }
  return std::make_unique<ExecutionContext>(engine->shared_library(), object,
                                            config != nullptr
                                                ? std::shared_ptr<const void>(config)
                                                : std::shared_ptr<const void>(engine));
}

void ExecutionContext::set_scratch(void* memory, std::size_t size) {
  if (has(methods::context_set_device_memory_v2)) {
    call(methods::context_set_device_memory_v2, memory, static_cast<std::int64_t>(size));
  } else {
    call(methods::context_set_device_memory, memory);
  }
}

bool ExecutionContext::set_profile(int profile, cuda::StreamRef stream) {
  return call(methods::context_set_profile_async, profile, stream.handle());
}

bool ExecutionContext::set_input_shape(const std::string& input, const Dims& dims) {
  return call(methods::context_set_input_shape, input.c_str(), dims);
}

bool ExecutionContext::set_address(const std::string& tensor, void* address) {
  return call(methods::context_set_tensor_address, tensor.c_str(), address);
}

bool ExecutionContext::set_output_allocator(const std::string& output, OutputAllocator& allocator) {
  return call(methods::context_set_output_allocator, output.c_str(),
              allocator.vendor_interface(library().generation()));
}

std::int64_t ExecutionContext::max_output_size(const std::string& output) const {
  return call(methods::context_get_max_output_size, output.c_str());
}

bool ExecutionContext::enqueue(cuda::StreamRef stream) {
  return call(methods::context_enqueue, stream.handle());
}

std::optional<std::string> ExecutionContext::infer_shapes() {
  const char* missing = nullptr;
  const int count = call(methods::context_infer_shapes, 1, &missing);
  if (count == 0) return std::nullopt;
  return count > 0 && missing != nullptr ? missing : "?";
}

Dims ExecutionContext::shape(const std::string& tensor) const {
  return call(methods::context_get_tensor_shape, tensor.c_str());
}

void ExecutionContext::set_profiler(Profiler* profiler) {
  call(methods::context_set_profiler,
       profiler != nullptr ? profiler->vendor_interface(library().generation()) : nullptr);
}

}  // namespace fasttrt::nvinfer
