#include "engine/session.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/nvtx.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

// TensorRT would queue the run into a graph of the caller's, which knows nothing of this session.
void refuse_capture(std::optional<cuda::StreamRef> stream) {
  if (stream && stream->handle() != nullptr && stream->is_capturing()) {
    throw InputError("stream: a run cannot become part of a CUDA graph that is being captured");
  }
}

}  // namespace

Session::Session(SharedSessionState& shared, RuntimeConfigs configs)
    : shared_(shared),
      stream_(shared.device),
      done_(shared.device),
      waiter_(shared.device, shared.wait),
      graphs_(shared, stream_, waiter_),
      addresses_(shared.inputs.size()),
      context_(shared, std::move(configs)) {
  for (const auto& tensor : shared.inputs) {
    inputs_.emplace_back(shared.device, *shared.copies, tensor, shared.mapped_limit);
  }
  for (const auto& tensor : shared.outputs) {
    outputs_.emplace_back(shared.device, shared.pool, *shared.copies, tensor, shared.mapped_limit);
  }
}

Session::~Session() {
  if (is_pending_) synchronize_quietly(done_);
  shared_.memory.device -= memory_.device;
  shared_.memory.pinned -= memory_.pinned;
}

void Session::run(std::span<const InputArray> arrays, std::size_t profile,
                  std::span<OutputArray> results, std::optional<cuda::StreamRef> stream) {
  refuse_capture(stream);
  const nvinfer::ErrorScope errors;
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  const auto start = RunClock::now();
  run_ = {};
  if (!arrays.empty() && arrays[0].shape.rank() > 0) run_.rows = arrays[0].shape[0];
  try {
    wait_for_previous_run(arrays, queue);
    profile = stage(arrays, profile, results, queue);
    has_ahead_ = false;
    queue_run(arrays, profile, results, queue);
    if (stream && can_return_early(results)) {
      done_.record(queue);
      is_pending_ = true;
      run_.staging = RunClock::now() - start;
      record_ = run_;
      return;
    }
    const auto queued = RunClock::now();
    wait(queue);
    const auto waited = RunClock::now();
    complete(results);
    run_.staging = queued - start;
    run_.compute = waited - queued;
    run_.copy_out = RunClock::now() - waited;
    record_ = run_;
  } catch (...) {
    // Arrays lent to the GPU must not be given back while it may still read them.
    synchronize_quietly(queue);
    context_.forget_shapes();
    throw;
  }
}

void Session::queue_run(std::span<const InputArray> arrays, std::size_t profile,
                        std::span<OutputArray> results, cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.enqueue.c_str());
  run_.is_replay = replay(results, stream);
  if (!run_.is_replay) enqueue(arrays, profile, results, stream);
  for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].fetch(results[i], stream);
}

void Session::wait(cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.wait.c_str());
  waiter_.wait(stream);
  is_pending_ = false;
}

void Session::complete(std::span<OutputArray> results) {
  const nvtx::Range range(shared_.ranges.copy_out.c_str());
  for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].complete(results[i]);
}

// Whether the host has no part in what is queued: nothing to copy, no memory of its own in use.
bool Session::can_return_early(std::span<const OutputArray> results) const {
  return std::ranges::all_of(
             results, [](const OutputArray& result) { return result.place == Place::device; }) &&
         !lends_inputs();
}

void Session::wait_for_previous_run(std::span<const InputArray> arrays, cuda::StreamRef stream) {
  if (!is_pending_) return;
  const bool all_on_device = std::ranges::all_of(
      arrays, [](const InputArray& array) { return array.place == Place::device; });
  if (all_on_device) {
    stream.wait(done_);
  } else {
    done_.synchronize();  // it may still read what the new arrays will overwrite
    is_pending_ = false;
  }
}

void Session::warm_up(std::span<const InputArray> arrays, std::size_t profile) {
  constexpr int most = 3;  // the first run, one that is captured, and the graph's first launch
  RunRecord all;
  all.is_warmup = true;
  for (int i = 0; i < most; ++i) {
    std::vector<OutputArray> results(shared_.outputs.size());
    run(arrays, profile, results, std::nullopt);
    all.is_captured = all.is_captured || run_.is_captured;
    all.is_compiled = all.is_compiled || run_.is_compiled;
    all.compile += run_.compile;
    record_ = all;
    if (run_.is_replay || (i > 0 && !run_.is_captured)) return;
  }
}

std::vector<Dims> Session::infer_shapes(std::span<const InputArray> arrays, std::size_t profile,
                                        std::optional<cuda::StreamRef> stream) {
  refuse_capture(stream);
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  std::vector<Dims> shapes;
  try {
    wait_for_previous_run(arrays, queue);
    profile = stage(arrays, profile, {}, queue);
    const auto lock = context_.lock_compiling();
    set_inputs(arrays, profile, queue);
    shapes = context_.output_shapes();
    queue.synchronize();
  } catch (...) {
    synchronize_quietly(queue);
    context_.forget_shapes();
    throw;
  }
  return shapes;
}

}  // namespace fasttrt::engine
