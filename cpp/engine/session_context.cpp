#include "engine/session_context.hpp"

#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

SessionContext::SessionContext(SharedSessionState& shared, RuntimeConfigs configs)
    : shared_(shared),
      is_v8_(shared.engine->shared_library()->generation() == nvinfer::Generation::v8),
      scratch_bytes_(shared.engine->scratch_size()) {
  for (auto& config : configs) {
    contexts_.push_back({std::move(config), ContextShapes(shared.inputs.size()), nullptr});
  }
  if (contexts_.size() > 1) scratch_ = cuda::DeviceBuffer(shared.device, scratch_bytes_);
  const std::lock_guard lock(shared.kernels->compiling);
  create(std::nullopt);
}

// A context begins with the first profile; the stream is for another one.
void SessionContext::create(std::optional<cuda::StreamRef> stream) {
  const nvinfer::ErrorScope errors;
  const bool shares = contexts_.size() > 1;
  auto context = nvinfer::ExecutionContext::create(
      shared_.engine, current().config,
      shares ? nvinfer::ScratchMemory::lent : nvinfer::ScratchMemory::own);
  if (shares) context->set_scratch(scratch_.data(), scratch_.size());
  if (stream && profile_ != 0) {
    if (!context->set_profile(static_cast<int>(profile_), *stream)) {
      throw Error(errors.explain("profile " + std::to_string(profile_) + " cannot be selected"));
    }
    stream->synchronize();
  }
  current().context = std::move(context);
}

std::unique_lock<std::mutex> SessionContext::lock_compiling() const {
  return shared_.compiles ? std::unique_lock(shared_.kernels->compiling)
                          : std::unique_lock<std::mutex>();
}

bool SessionContext::is_worn() const noexcept {
  const auto lifetime = shared_.context_lifetime;
  return lifetime > 0 && current().shapes.changes() >= lifetime;
}

void SessionContext::renew(cuda::StreamRef stream) {
  current().shapes.reset();
  current().context.reset();
  create(stream);
}

void SessionContext::drop_all() noexcept {
  for (auto& profile : contexts_) {
    profile.shapes.reset();
    profile.context.reset();
  }
}

void SessionContext::set_inputs(std::span<const InputArray> arrays,
                                std::span<void* const> addresses) {
  const nvinfer::ErrorScope errors;
  current().shapes.update(arrays, [&](std::size_t i, const Dims& shape) {
    const auto& name = shared_.inputs[i].name;
    if (current().context->set_input_shape(name, shape)) return;
    throw InputError(errors.explain(name + ": shape " + shape.str() + " was refused"));
  });
  for (std::size_t i = 0; i < arrays.size(); ++i) bind(shared_.inputs[i].name, addresses[i]);
  if (const auto missing = current().context->infer_shapes()) {
    throw InputError(errors.explain("the input shapes are inconsistent" +
                                    (*missing == "?" ? "" : " (" + *missing + " is incomplete)")));
  }
}

void SessionContext::bind(const std::string& tensor, void* address) {
  const nvinfer::ErrorScope errors;
  if (!current().context->set_address(tensor, address)) {
    throw Error(errors.explain("the address of " + tensor + " was refused"));
  }
}

// TensorRT 8.6 asks for the size of the run before and then writes the one at hand, so there the
// memory must hold the most that can come; the others ask for what they need.
void SessionContext::bind(const std::string& output, nvinfer::OutputAllocator& allocator) {
  const auto most = is_v8_ ? current().context->max_output_size(output) : 0;
  if (most < 0) throw Error("TensorRT gives no upper bound for the size of the output " + output);
  allocator.reset(static_cast<std::size_t>(most));
  if (!current().context->set_output_allocator(output, allocator)) {
    throw Error("the output allocator of " + output + " was refused");
  }
}

std::vector<Dims> SessionContext::output_shapes() const {
  std::vector<Dims> shapes;
  shapes.reserve(shared_.outputs.size());
  for (const auto& tensor : shared_.outputs)
    shapes.push_back(current().context->shape(tensor.name));
  return shapes;
}

}  // namespace fasttrt::engine
