#include "engine/session.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

// Waits after a failure, which is the error to report.
void settle(cuda::StreamRef stream) noexcept {
  try {
    stream.synchronize();
  } catch (const Error& error) {
    nvinfer::Logger::instance().log(nvinfer::Severity::verbose, error.what());
  }
}

// Allocates the result, or checks that the caller's memory fits it.
void prepare(const IoTensor& tensor, HostOutput& result, const Dims& shape) {
  if (result.target == nullptr) {
    result.buffer = HostBuffer(nvinfer::byte_size(tensor.dtype, shape.volume()));
  } else if (result.shape != shape) {
    throw InputError(tensor.name + ": the result has shape " + shape.str() +
                     ", but out= has shape " + result.shape.str());
  }
  result.shape = shape;
}

}  // namespace

Session::Session(const std::shared_ptr<nvinfer::CudaEngine>& engine,
                 const std::shared_ptr<cuda::PrimaryContext>& device,
                 std::span<const IoTensor> inputs, std::span<const IoTensor> outputs)
    : inputs_(inputs),
      outputs_(outputs),
      device_(device),
      stream_(device),
      input_states_(inputs.size()),
      output_states_(outputs.size()),
      is_v8_(engine->shared_library()->generation() == nvinfer::Generation::v8),
      context_(nvinfer::ExecutionContext::create(engine)) {
  for (auto& input : input_states_) input.buffer = cuda::DeviceBuffer(device, 0);
  for (auto& output : output_states_) output.buffer = cuda::DeviceBuffer(device, 0);
}

Session::~Session() = default;

void Session::run(std::span<const HostInput> arrays, std::size_t profile,
                  std::span<HostOutput> results) {
  const nvinfer::ErrorScope errors;
  try {
    select(profile);
    set_inputs(arrays);
    set_outputs(results);
    if (!context_->enqueue(stream_)) throw Error(errors.explain("the inference was refused"));
    for (std::size_t i = 0; i < results.size(); ++i) fetch(i, results[i]);
    stream_.synchronize();
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!outputs_[i].on_host) continue;
      std::memcpy(results[i].data(), output_states_[i].host.data(),
                  nvinfer::byte_size(outputs_[i].dtype, results[i].shape.volume()));
    }
  } catch (...) {
    // The next run tells the context everything anew, and arrays lent to the GPU must not be
    // given back while it may still read them.
    for (auto& input : input_states_) input.shape = Dims(Dims::unknown_rank);
    settle(stream_);
    throw;
  }
}

void Session::select(std::size_t profile) {
  if (profile == profile_) return;
  const nvinfer::ErrorScope errors;
  if (!context_->set_profile(static_cast<int>(profile), stream_)) {
    throw Error(errors.explain("profile " + std::to_string(profile) + " cannot be selected"));
  }
  profile_ = profile;
  for (auto& input : input_states_) input.shape = Dims(Dims::unknown_rank);
  stream_.synchronize();
}

void Session::bind(const std::string& tensor, void* address) {
  const nvinfer::ErrorScope errors;
  if (!context_->set_address(tensor, address)) {
    throw Error(errors.explain("the address of " + tensor + " was refused"));
  }
}

void Session::set_inputs(std::span<const HostInput> arrays) {
  const nvinfer::ErrorScope errors;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const auto& tensor = inputs_[i];
    const auto& array = arrays[i];
    auto& state = input_states_[i];
    const auto bytes = nvinfer::byte_size(tensor.dtype, array.shape.volume());
    if (state.shape != array.shape) {
      if (!context_->set_input_shape(tensor.name, array.shape)) {
        throw InputError(
            errors.explain(tensor.name + ": shape " + array.shape.str() + " was refused"));
      }
      state.shape = array.shape;
    }
    if (tensor.on_host) {
      const auto* data = static_cast<const std::byte*>(array.data);
      state.host.assign(data, data + bytes);
      state.host.reserve(1);  // an address even for no values
      bind(tensor.name, state.host.data());
    } else {
      state.buffer.grow(bytes);
      cuda::copy_to_device(state.buffer.data(), array.data, bytes, stream_);
      bind(tensor.name, state.buffer.data());
    }
  }
  if (const auto missing = context_->infer_shapes()) {
    throw InputError(errors.explain("these inputs do not go together" +
                                    (*missing == "?" ? "" : " (" + *missing + " is incomplete)")));
  }
}

void Session::set_outputs(std::span<HostOutput> results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& tensor = outputs_[i];
    auto& state = output_states_[i];
    const Dims shape = context_->shape(tensor.name);
    if (tensor.on_host) {
      if (!shape.known()) throw Error("TensorRT knows no shape for the output " + tensor.name);
      prepare(tensor, results[i], shape);
      state.host = HostBuffer(nvinfer::byte_size(tensor.dtype, shape.volume()));
      bind(tensor.name, state.host.data());
    } else if (shape.known() && state.allocator == nullptr) {
      prepare(tensor, results[i], shape);
      state.buffer.grow(nvinfer::byte_size(tensor.dtype, shape.volume()));
      bind(tensor.name, state.buffer.data());
    } else {
      if (state.allocator == nullptr) {
        state.allocator = std::make_unique<nvinfer::OutputAllocator>(device_);
      }
      // TensorRT 8.6 asks for the size of the run before and then writes the one at hand, so there
      // the memory must hold the most that can come; the others ask for what they need.
      const auto most = is_v8_ ? context_->max_output_size(tensor.name) : 0;
      if (most < 0) throw Error("TensorRT gives no upper bound for the output " + tensor.name);
      state.allocator->reset(static_cast<std::size_t>(most));
      if (!context_->set_output_allocator(tensor.name, *state.allocator)) {
        throw Error("the output allocator of " + tensor.name + " was refused");
      }
    }
  }
}

void Session::fetch(std::size_t index, HostOutput& result) {
  const auto& tensor = outputs_[index];
  auto& state = output_states_[index];
  if (tensor.on_host) return;
  void* source = state.buffer.data();
  if (state.allocator != nullptr) {
    stream_.synchronize();  // the shape is reported by the end of the run at the latest
    if (!state.allocator->dims().known()) {
      throw Error("TensorRT reported no shape for the output " + tensor.name);
    }
    prepare(tensor, result, state.allocator->dims());
    source = state.allocator->data();
  }
  cuda::copy_to_host(result.data(), source, nvinfer::byte_size(tensor.dtype, result.shape.volume()),
                     stream_);
}

}  // namespace fasttrt::engine
