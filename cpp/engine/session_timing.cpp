// The part of Session that takes the time of runs, for benchmarks.
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "common/error.hpp"
#include "cuda/memory.hpp"
#include "engine/session.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/profiler.hpp"

namespace fasttrt::engine {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

// The arrays of a run in memory of its own: on the device, and page-locked ones to copy from and
// to.
struct Session::Trial {
  struct Pair {
    cuda::DeviceBuffer device;
    cuda::PinnedBuffer host;
  };
  std::vector<Pair> in, out;
  std::vector<InputArray> inputs;
  std::vector<OutputArray> outputs;

  void queue_inputs(cuda::StreamRef stream) const {
    for (const auto& [device, host] : in) {
      cuda::copy_to_device(device.data(), host.data(), host.size(), stream);
    }
  }
  void queue_outputs(cuda::StreamRef stream) const {
    for (const auto& [device, host] : out) {
      cuda::copy_to_host(host.data(), device.data(), host.size(), stream);
    }
  }
};

Session::Trial Session::prepare_trial(std::size_t profile, std::span<const InputArray> arrays) {
  graphs_.clear();  // one may be of memory that an earlier trial had at the same addresses
  Trial trial;
  const auto allocate = [&](const IoTensor& tensor, const Dims& shape) -> Trial::Pair {
    if (tensor.on_host || !shape.known()) {
      throw Error(tensor.name + " is not in device memory of a known shape");
    }
    const auto bytes = nvinfer::byte_size(tensor.dtype, shape.volume());
    return {cuda::DeviceBuffer(shared_.device, bytes), cuda::PinnedBuffer(shared_.device, bytes)};
  };
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    auto& pair = trial.in.emplace_back(allocate(shared_.inputs[i], arrays[i].shape));
    if (arrays[i].place == Place::device) {
      cuda::copy_to_host(pair.host.data(), arrays[i].data, pair.host.size(), stream_);
      stream_.synchronize();
    } else {
      std::memcpy(pair.host.data(), arrays[i].data, pair.host.size());
    }
    trial.inputs.push_back({pair.device.data(), arrays[i].shape, Place::device});
  }
  trial.queue_inputs(stream_);
  stream_.synchronize();
  const auto shapes = infer_shapes(trial.inputs, profile, std::nullopt);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    auto& pair = trial.out.emplace_back(allocate(shared_.outputs[i], shapes[i]));
    auto& output = trial.outputs.emplace_back();
    output.target = pair.device.data();
    output.shape = shapes[i];
    output.place = Place::device;
  }
  return trial;
}

std::vector<double> Session::time_replays(std::size_t profile, std::span<const InputArray> arrays,
                                          std::size_t count) {
  auto trial = prepare_trial(profile, arrays);
  for (int i = 0; i < 3; ++i) run(trial.inputs, profile, trial.outputs, std::nullopt);
  const auto* const captured = graphs_.find(key_);
  if (captured == nullptr) throw Error("this model runs without CUDA graphs");
  std::vector<double> times;
  for (std::size_t i = 0; i < count; ++i) {
    const auto start = Clock::now();
    captured->graph.launch(stream_);
    waiter_.wait(stream_);
    times.push_back(microseconds_since(start));
  }
  graphs_.clear();  // their memory goes with this call
  return times;
}

PhaseTimes Session::time_phases(std::size_t profile, std::span<const InputArray> arrays,
                                std::size_t count) {
  const nvinfer::ErrorScope errors;
  auto trial = prepare_trial(profile, arrays);
  for (int i = 0; i < 3; ++i) run(trial.inputs, profile, trial.outputs, std::nullopt);
  const auto* const captured = graphs_.find(key_);
  PhaseTimes times;
  times.graph = captured != nullptr;
  const auto event = [&] { return cuda::Event(shared_.device, cuda::EventTiming::on); };
  const cuda::Event first = event(), start = event(), copied = event(), computed = event(),
                    end = event();
  const auto microseconds = [](cuda::EventRef from, cuda::EventRef to) {
    return 1000.0 * static_cast<double>(cuda::elapsed_ms(from, to));
  };
  try {
    first.record(stream_);
    for (std::size_t i = 0; i < count; ++i) {
      start.record(stream_);
      trial.queue_inputs(stream_);
      copied.record(stream_);
      const auto begin = Clock::now();
      if (times.graph) {
        captured->graph.launch(stream_);
      } else {
        const auto lock = context_.lock_compiling();
        if (!context_.enqueue(stream_)) throw Error(errors.explain("the inference was refused"));
      }
      times.enqueue.push_back(microseconds_since(begin));
      computed.record(stream_);
      trial.queue_outputs(stream_);
      end.record(stream_);
      waiter_.wait(stream_);
      end.synchronize();
      times.h2d.push_back(microseconds(start, copied));
      times.compute.push_back(microseconds(copied, computed));
      times.d2h.push_back(microseconds(computed, end));
    }
    times.total = count > 0 ? microseconds(first, end) : 0.0;
  } catch (...) {
    synchronize_quietly(stream_);  // nothing may use the memory that goes with this call
    graphs_.clear();
    context_.forget_shapes();
    throw;
  }
  graphs_.clear();
  return times;
}

std::vector<LayerTimes> Session::time_layers(std::size_t profile,
                                             std::span<const InputArray> arrays,
                                             std::size_t count) {
  const nvinfer::ErrorScope errors;
  auto trial = prepare_trial(profile, arrays);
  run(trial.inputs, profile, trial.outputs, std::nullopt);
  std::vector<LayerTimes> layers;
  std::map<std::string, std::size_t> places;
  std::size_t index = 0;
  nvinfer::Profiler profiler([&](const char* name, float milliseconds) {
    const auto [place, is_new] = places.try_emplace(name, layers.size());
    if (is_new) layers.push_back({name, std::vector<double>(count)});
    // A layer in a loop is reported once for each turn.
    layers[place->second].milliseconds[index] += static_cast<double>(milliseconds);
  });
  const auto lock = context_.lock_compiling();
  context_.set_profiler(&profiler);
  try {
    for (; index < count; ++index) {
      // With a profiler TensorRT waits in here, and reports before it returns.
      if (!context_.enqueue(stream_)) throw Error(errors.explain("the inference was refused"));
      stream_.synchronize();
    }
  } catch (...) {
    drop_profiler();
    throw;
  }
  drop_profiler();
  if (layers.empty() && count > 0) throw Error("TensorRT reported no layer times");
  return layers;
}

// The next run makes a new context: an execution context keeps what it set up for profiling.
void Session::drop_profiler() {
  context_.set_profiler(nullptr);
  renew_context(stream_);
}

}  // namespace fasttrt::engine
