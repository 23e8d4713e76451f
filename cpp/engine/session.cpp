#include "engine/session.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

// TensorRT would queue the run into a graph of the caller's, which knows nothing of this session.
void refuse_capture(std::optional<cuda::StreamRef> stream) {
  if (stream && stream->handle() != nullptr && stream->is_capturing()) {
    throw InputError("stream: a run cannot become part of a CUDA graph that is being recorded");
  }
}

std::int64_t number(const void* address) noexcept {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(address));
}

}  // namespace

Session::Session(SessionSetup& setup, std::shared_ptr<nvinfer::RuntimeConfig> config)
    : setup_(setup),
      config_(std::move(config)),
      stream_(setup.device),
      done_(setup.device),
      copied_(setup.device, cuda::EventTiming::off, cuda::EventWait::block),
      waiter_(setup.device, setup.wait),
      addresses_(setup.inputs.size()),
      told_(setup.inputs.size(), Dims(Dims::unknown_rank)),
      is_v8_(setup.engine->shared_library()->generation() == nvinfer::Generation::v8) {
  for (const auto& tensor : setup.inputs) {
    inputs_.emplace_back(setup.device, *setup.copies, tensor, setup.mapped_limit);
  }
  for (const auto& tensor : setup.outputs) {
    outputs_.emplace_back(setup.device, setup.pool, *setup.copies, tensor, setup.mapped_limit);
  }
  const std::lock_guard lock(setup.compiling);
  context_ = nvinfer::ExecutionContext::create(setup.engine, config_);
}

Session::~Session() {
  if (pending_) synchronize_quietly(done_);
}

void Session::run(std::span<const InputArray> arrays, std::size_t profile,
                  std::span<OutputArray> results, std::optional<cuda::StreamRef> stream,
                  InputsRead* inputs_read) {
  refuse_capture(stream);
  const nvinfer::ErrorScope errors;
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  try {
    follow_earlier_work(arrays, queue);
    profile = stage(arrays, profile, results, queue);
    const bool awaits_copies = inputs_read != nullptr && lends_inputs();
    if (awaits_copies) {
      copied_.record(queue);
    } else if (inputs_read != nullptr) {
      inputs_read->set();
    }
    if (!replay(results, queue)) enqueue(arrays, profile, results, queue);
    for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].fetch(results[i], queue);
    if (awaits_copies) {
      copied_.synchronize();
      inputs_read->set();
    }
    if (stream && is_over_for_the_host(results)) {
      done_.record(queue);
      pending_ = true;
      return;
    }
    waiter_.wait(queue);
    pending_ = false;
    for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].complete(results[i]);
  } catch (...) {
    // Arrays lent to the GPU must not be given back while it may still read them.
    synchronize_quietly(queue);
    forget();
    throw;
  }
}

// Whether the host has no part in what is queued: nothing to copy, no memory of its own in use.
bool Session::is_over_for_the_host(std::span<const OutputArray> results) const {
  return std::ranges::all_of(
             results, [](const OutputArray& result) { return result.place == Place::device; }) &&
         !lends_inputs();
}

// Whether the GPU reads an array of the run at hand from the caller's page-locked memory.
bool Session::lends_inputs() const { return std::ranges::any_of(inputs_, &InputSlot::is_lent); }

// The next run tells the context everything anew.
void Session::forget() noexcept { std::ranges::fill(told_, Dims(Dims::unknown_rank)); }

void Session::follow_earlier_work(std::span<const InputArray> arrays, cuda::StreamRef stream) {
  if (!pending_) return;
  const bool all_on_device = std::ranges::all_of(
      arrays, [](const InputArray& array) { return array.place == Place::device; });
  if (all_on_device) {
    stream.wait(done_);
  } else {
    done_.synchronize();  // it may still read what the new arrays will overwrite
    pending_ = false;
  }
}

// The address that a slot gives. Graphs that use memory which it replaced go, also where the
// replacing failed.
void* Session::placed(const auto& place) {
  try {
    const Placement placement = place();
    if (placement.moved) recordings_.clear();
    return placement.address;
  } catch (...) {
    recordings_.clear();
    throw;
  }
}

// Brings the inputs to where the engine reads them, and makes the key of the run: all that a
// recording of it depends on. Returns the profile: another one where values that were on the device
// want it.
std::size_t Session::stage(std::span<const InputArray> arrays, std::size_t profile,
                           std::span<const OutputArray> results, cuda::StreamRef stream) {
  bool has_news = false;
  key_.assign(1, 0);  // the profile's place
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    addresses_[i] = placed([&] { return inputs_[i].stage(arrays[i], stream); });
    key_.push_back(number(addresses_[i]));
    key_.insert(key_.end(), arrays[i].shape.begin(), arrays[i].shape.end());
    if (setup_.inputs[i].on_host) {
      has_news = has_news || arrays[i].place == Place::device;
      for (const auto value : inputs_[i].values()) {
        key_.push_back(std::to_integer<std::int64_t>(value));
      }
    }
  }
  for (const auto& result : results) {
    key_.push_back(result.place == Place::device ? number(result.target) : -1);
  }
  if (has_news) profile = choose_profile(setup_.inputs, with_values(arrays));
  key_.front() = static_cast<std::int64_t>(profile);
  return profile;
}

// The arrays, those of shape tensors as staged: on the host.
std::vector<InputArray> Session::with_values(std::span<const InputArray> arrays) const {
  std::vector<InputArray> readable(arrays.begin(), arrays.end());
  for (std::size_t i = 0; i < readable.size(); ++i) {
    if (!setup_.inputs[i].on_host) continue;
    readable[i].data = addresses_[i];
    readable[i].place = Place::host;
  }
  return readable;
}

// Needs lock_compiling().
void Session::renew_context(cuda::StreamRef stream) {
  stream.synchronize();
  stream_.synchronize();
  recordings_.clear();  // they use the context's memory
  forget();
  context_.reset();
  context_ = nvinfer::ExecutionContext::create(setup_.engine, config_);
  profile_ = 0;
  changes_ = 0;
  doubtful_ = false;
}

void Session::tell_shapes(std::span<const InputArray> arrays, std::size_t profile,
                          cuda::StreamRef stream) {
  const nvinfer::ErrorScope errors;
  const bool worn = setup_.context_lifetime > 0 && changes_ >= setup_.context_lifetime;
  if (worn || doubtful_ || context_ == nullptr) renew_context(stream);
  if (profile != profile_) {
    forget();
    recordings_.clear();  // they may use what the context keeps for a profile
    if (!context_->set_profile(static_cast<int>(profile), stream)) {
      throw Error(errors.explain("profile " + std::to_string(profile) + " cannot be selected"));
    }
    profile_ = profile;
    stream.synchronize();
  }
  if (!std::ranges::equal(told_, arrays, {}, {}, &InputArray::shape)) ++changes_;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const auto& tensor = setup_.inputs[i];
    if (told_[i] != arrays[i].shape) {
      if (!context_->set_input_shape(tensor.name, arrays[i].shape)) {
        throw InputError(
            errors.explain(tensor.name + ": shape " + arrays[i].shape.str() + " was refused"));
      }
      told_[i] = arrays[i].shape;
    }
    bind(tensor.name, addresses_[i]);
  }
  if (const auto missing = context_->infer_shapes()) {
    throw InputError(errors.explain("these inputs do not go together" +
                                    (*missing == "?" ? "" : " (" + *missing + " is incomplete)")));
  }
}

std::unique_lock<std::mutex> Session::lock_compiling() const {
  return setup_.compiles ? std::unique_lock(setup_.compiling) : std::unique_lock<std::mutex>();
}

void Session::bind(const std::string& tensor, void* address) {
  const nvinfer::ErrorScope errors;
  if (!context_->set_address(tensor, address)) {
    throw Error(errors.explain("the address of " + tensor + " was refused"));
  }
}

void Session::bind_outputs(std::span<OutputArray> results, std::span<const Dims> shapes) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& tensor = setup_.outputs[i];
    auto& slot = outputs_[i];
    if (tensor.on_host && !shapes[i].known()) {
      throw Error("TensorRT knows no shape for the output " + tensor.name);
    }
    if (tensor.on_host || (shapes[i].known() && slot.allocator() == nullptr)) {
      slot.prepare(results[i], shapes[i]);
      bind(tensor.name, placed([&] { return slot.place(results[i], shapes[i]); }));
      continue;
    }
    // TensorRT 8.6 asks for the size of the run before and then writes the one at hand, so there
    // the memory must hold the most that can come; the others ask for what they need.
    const auto most = is_v8_ ? context_->max_output_size(tensor.name) : 0;
    if (most < 0) throw Error("TensorRT gives no upper bound for the output " + tensor.name);
    if (slot.allocator() == nullptr) recordings_.clear();  // see unrecordable_output()
    slot.use_allocator().reset(static_cast<std::size_t>(most));
    if (!context_->set_output_allocator(tensor.name, *slot.allocator())) {
      throw Error("the output allocator of " + tensor.name + " was refused");
    }
  }
}

void Session::enqueue(std::span<const InputArray> arrays, std::size_t profile,
                      std::span<OutputArray> results, cuda::StreamRef stream) {
  const nvinfer::ErrorScope errors;
  const auto lock = lock_compiling();
  tell_shapes(arrays, profile, stream);
  std::vector<Dims> shapes;
  shapes.reserve(setup_.outputs.size());
  for (const auto& tensor : setup_.outputs) shapes.push_back(context_->shape(tensor.name));
  bind_outputs(results, shapes);
  if (setup_.graphs == GraphPolicy::required) require_recordable();
  const bool queued = enqueue_in_order(stream);
  for (const auto& output : outputs_) {
    if (output.allocator() != nullptr) output.allocator()->rethrow();
  }
  if (!queued) throw Error(errors.explain("the inference was refused"));
  // The same run for the second time may come again. Recording wants an enqueue before it that
  // was not recorded, in which TensorRT prepares itself for the shapes: that was it.
  Recording* const known = recordings_.find(key_);
  if (known == nullptr) {
    recordings_.add(key_, std::move(shapes));
    return;
  }
  const bool wanted = setup_.graphs != GraphPolicy::never && setup_.may_be_recorded();
  if (wanted && unrecordable_output() == nullptr) record(*known, stream);
}

bool Session::enqueue_in_order(cuda::StreamRef stream) {
  if (stream.handle() != nullptr) return context_->enqueue(stream);
  // In the legacy default stream TensorRT would wait for the GPU at every call.
  done_.record(stream);
  stream_.wait(done_);
  const bool queued = context_->enqueue(stream_);
  done_.record(stream_);
  stream.wait(done_);
  return queued;
}

// An output that the host has a part in, which a replay would not repeat.
const IoTensor* Session::unrecordable_output() const noexcept {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (setup_.outputs[i].on_host || outputs_[i].allocator() != nullptr) return &setup_.outputs[i];
  }
  return nullptr;
}

void Session::require_recordable() const {
  if (const auto* const output = unrecordable_output()) {
    throw Error("cuda_graph=True, but this model cannot be recorded into a CUDA graph: " +
                output->name + " is a shape tensor, or its shape depends on the data");
  }
}

std::vector<Dims> Session::infer_shapes(std::span<const InputArray> arrays, std::size_t profile,
                                        std::optional<cuda::StreamRef> stream) {
  refuse_capture(stream);
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  std::vector<Dims> shapes;
  try {
    follow_earlier_work(arrays, queue);
    profile = stage(arrays, profile, {}, queue);
    const auto lock = lock_compiling();
    tell_shapes(arrays, profile, queue);
    shapes.reserve(setup_.outputs.size());
    for (const auto& tensor : setup_.outputs) shapes.push_back(context_->shape(tensor.name));
    queue.synchronize();
  } catch (...) {
    synchronize_quietly(queue);
    forget();
    throw;
  }
  return shapes;
}

}  // namespace fasttrt::engine
