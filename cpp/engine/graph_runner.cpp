#include "engine/graph_runner.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

constexpr int max_failed_captures = 3;  // see SharedSessionState

}  // namespace

const CapturedRun* GraphRunner::find(std::span<const std::int64_t> key) noexcept {
  const CapturedRun* const run = cache_.find(key);
  return run != nullptr && run->graph ? run : nullptr;
}

bool GraphRunner::launch(const CapturedRun& run, cuda::StreamRef stream) {
  try {
    run.graph.launch(stream);
  } catch (const OutOfMemoryError&) {
    clear();  // graphs take memory of the device, and the run may do without
    if (state_.graphs == GraphPolicy::required) throw;
    return false;
  }
  return true;
}

bool GraphRunner::may_capture() const noexcept {
  return state_.failed_captures < max_failed_captures;
}

bool GraphRunner::launch_once(CapturableRun& run, cuda::StreamRef stream) {
  if (!may_capture()) return false;
  std::string problem;
  try {
    const auto captured = capture(run);
    if (captured.graph) {
      captured.graph.launch(stream);  // the driver frees it when it has run
      return true;
    }
    problem = captured.problem;
  } catch (const CudaError& error) {
    problem = error.what();
  } catch (const OutOfMemoryError&) {
    clear();
    if (state_.graphs == GraphPolicy::required) throw;
    return false;
  }
  fail(problem);
  return false;
}

// The same run for the second time may come again. A capture wants an enqueue before it that was
// not captured, in which TensorRT prepares itself for the shapes: there has been one.
bool GraphRunner::note(std::span<const std::int64_t> key, std::vector<nvinfer::Dims> output_shapes,
                       CapturableRun* run, cuda::StreamRef stream) {
  CapturedRun* const known = cache_.find(key);
  if (known == nullptr) {
    cache_.add(key, std::move(output_shapes));
    return true;
  }
  const bool is_wanted = state_.graphs != GraphPolicy::never && may_capture();
  if (run == nullptr || !is_wanted) return true;
  Capture best;
  try {
    best = capture(*run);
    if (best.graph && run->reads_host_memory()) {
      auto copying = capture_with_copies(*run, stream);
      const bool is_better = !copying.graph || replay_time(copying.graph) < replay_time(best.graph);
      if (is_better) best = std::move(copying);
    }
  } catch (const CudaError& error) {
    best.problem = error.what();
  } catch (const OutOfMemoryError&) {  // of this moment, not of the model
    clear();
    if (!best.graph && state_.graphs == GraphPolicy::required) throw;
    return false;  // the run itself is made
  }
  if (!best.problem.empty()) {
    fail(best.problem);
    return false;
  }
  known->graph = std::move(best.graph);
  return true;
}

GraphRunner::Capture GraphRunner::capture(CapturableRun& run) const {
  const nvinfer::ErrorScope errors;
  bool is_queued = false;
  cuda::Graph graph;
  const auto work = [&] {
    // (TensorRT-RTX 1.6.1 has isStreamCapturable(), which denied what then worked.)
    cuda::StreamCapture capture(state_.device, stream_);
    is_queued = run.enqueue();
    graph = capture.end();
  };
  if (state_.exclusion) {
    state_.exclusion(work);
  } else {
    work();
  }
  if (is_queued) return {cuda::GraphExec(graph), ""};
  return {{}, errors.explain("TensorRT refused it")};
}

// Small arrays are read where they are, in the host's memory, or copied by the graph first: which
// is quicker depends on how often the kernels read them, so both are tried. The results are those
// of the run at hand, once more.
GraphRunner::Capture GraphRunner::capture_with_copies(CapturableRun& run,
                                                      cuda::StreamRef stream) const {
  waiter_.wait(stream);
  run.copy_inputs();
  return capture(run);
}

double GraphRunner::replay_time(const cuda::GraphExec& graph) const {
  using Clock = std::chrono::steady_clock;
  constexpr int replays = 4;  // the first of them warms up
  auto least = Clock::duration::max();
  for (int i = 0; i < replays; ++i) {
    const auto start = Clock::now();
    graph.launch(stream_);
    stream_.synchronize();
    least = std::min(least, Clock::now() - start);
  }
  return std::chrono::duration<double>(least).count();
}

void GraphRunner::fail(const std::string& problem) {
  is_context_suspect_ = true;
  clear();
  if (state_.graphs == GraphPolicy::required) {
    throw Error("cuda_graph=True, but this model cannot be captured in a CUDA graph: " + problem);
  }
  if (++state_.failed_captures == max_failed_captures) {
    const auto text = "this model runs without CUDA graphs: " + problem;
    nvinfer::Logger::instance().log(nvinfer::Severity::info, text.c_str());
  }
}

}  // namespace fasttrt::engine
