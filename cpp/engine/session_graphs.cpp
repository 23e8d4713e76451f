// The part of Session that records runs as CUDA graphs.
#include <algorithm>
#include <chrono>
#include <utility>

#include "common/error.hpp"
#include "engine/session.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

// Returns false where there is nothing to replay, or no memory for it.
bool Session::replay(std::span<OutputArray> results, cuda::StreamRef stream) {
  Recording* const recording = recordings_.find(key_);
  if (recording == nullptr || !recording->graph) return false;
  for (std::size_t i = 0; i < results.size(); ++i) {
    outputs_[i].prepare(results[i], recording->output_shapes[i]);
  }
  try {
    recording->graph.launch(stream);
  } catch (const OutOfMemoryError&) {
    recordings_.clear();  // graphs take memory of the device, and the run may do without
    if (setup_.graphs == GraphPolicy::required) throw;
    return false;
  }
  return true;
}

cuda::GraphExec Session::capture(bool copies, std::string& problem) {
  const nvinfer::ErrorScope errors;
  bool queued = false;
  const auto graph = capture_undisturbed(copies, queued);
  if (queued) return cuda::GraphExec(graph);
  problem = errors.explain("TensorRT refused it");
  return {};
}

cuda::Graph Session::capture_undisturbed(bool copies, bool& queued) {
  cuda::Graph graph;
  const auto work = [&] {
    // (TensorRT-RTX 1.6.1 has isStreamCapturable(), which denied what then worked.)
    cuda::StreamCapture capture(setup_.device, stream_);
    for (const auto& input : inputs_) {
      if (copies && input.is_mapped()) input.queue_copy(stream_);
    }
    queued = context_->enqueue(stream_);
    graph = capture.end();
  };
  setup_.undisturbed ? setup_.undisturbed(work) : work();
  return graph;
}

void Session::record(Recording& recording, cuda::StreamRef stream) {
  std::string problem;
  try {
    recording.graph = capture(false, problem);
    if (recording.graph && std::ranges::any_of(inputs_, &InputSlot::is_mapped)) {
      choose_graph(recording, stream, problem);
    }
  } catch (const CudaError& error) {
    problem = error.what();
  } catch (const OutOfMemoryError&) {  // of this moment, not of the model
    const bool recorded = static_cast<bool>(recording.graph);
    recordings_.clear();
    forget();
    if (!recorded && setup_.graphs == GraphPolicy::required) throw;
    return;  // the run itself is made
  }
  if (problem.empty()) return;
  doubtful_ = true;
  recordings_.clear();
  if (setup_.graphs == GraphPolicy::required) {
    throw Error("cuda_graph=True, but this model cannot be recorded into a CUDA graph: " + problem);
  }
  if (++setup_.failed_recordings == SessionSetup::most_failures) {
    const auto text = "this model runs without CUDA graphs: " + problem;
    nvinfer::Logger::instance().log(nvinfer::Severity::info, text.c_str());
  }
}

// Small arrays are read where they are, in the host's memory, or copied by the graph first: which
// is quicker depends on how often the kernels read them, so both are tried. The results are those
// of the run at hand, once more.
void Session::choose_graph(Recording& recording, cuda::StreamRef stream, std::string& problem) {
  waiter_.wait(stream);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].is_mapped()) bind(setup_.inputs[i].name, inputs_[i].copy());
  }
  auto copying = capture(true, problem);
  if (copying && replay_time(copying) < replay_time(recording.graph)) {
    recording.graph = std::move(copying);
  }
}

double Session::replay_time(const cuda::GraphExec& graph) const {
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

}  // namespace fasttrt::engine
