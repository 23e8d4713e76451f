// Captures a session's runs as CUDA graphs once they come again, and replays them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "engine/graph_cache.hpp"
#include "engine/shared_session_state.hpp"
#include "engine/wait.hpp"
#include "nvinfer/dims.hpp"

namespace fasttrt::engine {

// The run at hand, as the one who captures it needs it.
class CapturableRun {
 public:
  CapturableRun() = default;
  virtual ~CapturableRun() = default;
  CapturableRun(const CapturableRun&) = delete;
  CapturableRun& operator=(const CapturableRun&) = delete;

  // Queues the run in the session's stream once more. False where TensorRT refuses; it logs why.
  [[nodiscard]] virtual bool enqueue() = 0;
  // Whether it has inputs that the GPU reads where they are, in the host's memory.
  [[nodiscard]] virtual bool reads_host_memory() const = 0;
  // From now on enqueue() first copies those to the device.
  virtual void copy_inputs() = 0;
};

class GraphRunner {
 public:
  // The state and the waiter outlive this. stream: the session's own, which is captured.
  GraphRunner(SharedSessionState& state, cuda::StreamRef stream, const Waiter& waiter) noexcept
      : state_(state), stream_(stream), waiter_(waiter) {}

  // The run with this key, if it was captured, else null. Valid until the next note(), launch() or
  // clear().
  [[nodiscard]] const CapturedRun* find(std::span<const std::int64_t> key) noexcept;

  // Launches its graph. Where there is no memory for that, returns false and forgets all runs;
  // throws OutOfMemoryError where the policy requires graphs.
  [[nodiscard]] bool launch(const CapturedRun& run, cuda::StreamRef stream);

  // Queues the run in `stream` as a graph that is used this once, so that each kernel waits for
  // those before it (see StreamCapture); whatever the policy. False, with nothing queued, where
  // that cannot be done: if the capture failed then all runs are forgotten, as by note(). Throws as
  // note() does.
  [[nodiscard]] bool launch_once(CapturableRun& run, cuda::StreamRef stream);

  // Notes that a run was queued in `stream`; captures one that was noted before, unless run is
  // null. If that fails then all runs are forgotten, and the answer is false: who knows what the
  // context has. Throws Error or OutOfMemoryError then where the policy requires graphs.
  [[nodiscard]] bool note(std::span<const std::int64_t> key,
                          std::vector<nvinfer::Dims> output_shapes, CapturableRun* run,
                          cuda::StreamRef stream);

  // Whether a capture failed, so that the context must be made anew; until reset().
  [[nodiscard]] bool is_context_suspect() const noexcept { return is_context_suspect_; }

  // Forgets all runs: memory that they use is about to go, or has gone.
  void clear() noexcept { cache_.clear(); }
  // The same for the runs whose key begins with the profile.
  void forget_profile(std::size_t profile) noexcept {
    cache_.forget(static_cast<std::int64_t>(profile));
  }
  // The same as clear(), for new contexts.
  void reset() noexcept {
    clear();
    is_context_suspect_ = false;
  }

 private:
  struct Capture {
    cuda::GraphExec graph;  // empty on failure
    std::string problem;
  };
  [[nodiscard]] Capture capture(CapturableRun& run) const;
  [[nodiscard]] Capture capture_with_copies(CapturableRun& run, cuda::StreamRef stream) const;
  [[nodiscard]] double replay_time(const cuda::GraphExec& graph) const;
  [[nodiscard]] bool may_capture() const noexcept;
  void fail(const std::string& problem);

  SharedSessionState& state_;
  cuda::StreamRef stream_;
  const Waiter& waiter_;
  GraphCache cache_;
  bool is_context_suspect_ = false;
};

}  // namespace fasttrt::engine
