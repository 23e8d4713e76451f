#include "engine/session_context.hpp"

#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

SessionContext::SessionContext(SharedSessionState& shared,
                               std::shared_ptr<nvinfer::RuntimeConfig> config)
    : shared_(shared),
      config_(std::move(config)),
      shapes_(shared.inputs.size()),
      is_v8_(shared.engine->shared_library()->generation() == nvinfer::Generation::v8) {
  const std::lock_guard lock(shared.compiling);
  context_ = create();
}

std::unique_ptr<nvinfer::ExecutionContext> SessionContext::create() const {
  return nvinfer::ExecutionContext::create(shared_.engine, config_);
}

std::unique_lock<std::mutex> SessionContext::lock_compiling() const {
  return shared_.compiles ? std::unique_lock(shared_.compiling) : std::unique_lock<std::mutex>();
}

bool SessionContext::is_worn() const noexcept {
  const auto lifetime = shared_.context_lifetime;
  return context_ == nullptr || (lifetime > 0 && shapes_.changes() >= lifetime);
}

void SessionContext::renew() {
  shapes_.reset();
  context_.reset();
  context_ = create();
}

void SessionContext::select_profile(std::size_t profile, cuda::StreamRef stream) {
  const nvinfer::ErrorScope errors;
  shapes_.forget();
  if (!context_->set_profile(static_cast<int>(profile), stream)) {
    throw Error(errors.explain("profile " + std::to_string(profile) + " cannot be selected"));
  }
  shapes_.select(profile);
  stream.synchronize();
}

void SessionContext::set_inputs(std::span<const InputArray> arrays,
                                std::span<void* const> addresses) {
  const nvinfer::ErrorScope errors;
  shapes_.update(arrays, [&](std::size_t i, const Dims& shape) {
    const auto& name = shared_.inputs[i].name;
    if (context_->set_input_shape(name, shape)) return;
    throw InputError(errors.explain(name + ": shape " + shape.str() + " was refused"));
  });
  for (std::size_t i = 0; i < arrays.size(); ++i) bind(shared_.inputs[i].name, addresses[i]);
  if (const auto missing = context_->infer_shapes()) {
    throw InputError(errors.explain("the input shapes are inconsistent" +
                                    (*missing == "?" ? "" : " (" + *missing + " is incomplete)")));
  }
}

void SessionContext::bind(const std::string& tensor, void* address) {
  const nvinfer::ErrorScope errors;
  if (!context_->set_address(tensor, address)) {
    throw Error(errors.explain("the address of " + tensor + " was refused"));
  }
}

// TensorRT 8.6 asks for the size of the run before and then writes the one at hand, so there the
// memory must hold the most that can come; the others ask for what they need.
void SessionContext::bind(const std::string& output, nvinfer::OutputAllocator& allocator) {
  const auto most = is_v8_ ? context_->max_output_size(output) : 0;
  if (most < 0) throw Error("TensorRT gives no upper bound for the size of the output " + output);
  allocator.reset(static_cast<std::size_t>(most));
  if (!context_->set_output_allocator(output, allocator)) {
    throw Error("the output allocator of " + output + " was refused");
  }
}

std::vector<Dims> SessionContext::output_shapes() const {
  std::vector<Dims> shapes;
  shapes.reserve(shared_.outputs.size());
  for (const auto& tensor : shared_.outputs) shapes.push_back(context_->shape(tensor.name));
  return shapes;
}

}  // namespace fasttrt::engine
