// One execution context with what a run needs: a stream, memory for inputs and outputs, and the
// CUDA graphs of its earlier runs. Used by one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/copy_pool.hpp"
#include "cuda/event.hpp"
#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/input_slot.hpp"
#include "engine/io_tensor.hpp"
#include "engine/output_slot.hpp"
#include "engine/recordings.hpp"
#include "engine/wait.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

// required: a run that cannot be recorded fails.
enum class GraphPolicy { never, automatic, required };

// Does the work while the program's other threads stay away from the GPU, as far as somebody can
// see to that. While a run is recorded, whoever waits for the whole device fails, and so does the
// recording, in whatever thread.
using Undisturbed = std::function<void(const std::function<void()>& work)>;

// What the sessions of an engine share. Outlives them.
struct SessionSetup {
  std::shared_ptr<nvinfer::CudaEngine> engine;
  std::shared_ptr<cuda::PrimaryContext> device;
  std::shared_ptr<PinnedPool> pool;
  std::vector<IoTensor> inputs;
  std::vector<IoTensor> outputs;
  GraphPolicy graphs = GraphPolicy::automatic;
  WaitPolicy wait = WaitPolicy::automatic;
  std::size_t mapped_limit = 0;  // bytes, see InputSlot
  CopyPool* copies = nullptr;    // never null in use
  Undisturbed undisturbed;       // empty: nobody can
  // Held while kernels may be compiled or looked up: TensorRT-RTX 1.6.1 crashed when two contexts
  // with one cache of kernels did so at once. Replays need no lock.
  bool compiles = false;
  std::mutex compiling;
  // After so many changes of shape a session makes its context anew; 0: never. TensorRT-RTX 1.6.1
  // keeps some 11 KB of host memory for every change until its context goes.
  std::size_t context_lifetime = 0;
  // How often recording failed. Somebody may have disturbed it, so it is tried again, but not
  // forever: most likely this model cannot be recorded.
  std::atomic<int> failed_recordings = 0;
  static constexpr int most_failures = 3;
  [[nodiscard]] bool may_be_recorded() const noexcept { return failed_recordings < most_failures; }
};

// Microseconds of each run's parts. GPU time between events: of the copies to the device, of the
// engine, of the copies back. enqueue: the host's, to queue or launch the engine alone.
struct PhaseTimes {
  std::vector<double> h2d, compute, d2h, enqueue;
  double total = 0;    // GPU time of all runs, one after the other
  bool graph = false;  // whether a CUDA graph was launched
};

struct LayerTimes {
  std::string layer;
  std::vector<double> milliseconds;  // of each run
};

class Session {
 public:
  // The device must be current here and in every call. config may be null.
  Session(SessionSetup& setup, std::shared_ptr<nvinfer::RuntimeConfig> config);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs once, in the stream if one is given. arrays fit `profile`, see choose_profile(). results
  // has one entry for each output. Returns when the results are there; with a stream, all of the
  // outputs on the device and no page-locked input, as soon as the work is queued. Throws
  // InputError, CudaError, OutOfMemoryError or Error; the session stays usable.
  void run(std::span<const InputArray> arrays, std::size_t profile, std::span<OutputArray> results,
           std::optional<cuda::StreamRef> stream);

  // The outputs' shapes for these inputs, with -1 for an extent that only a run can tell.
  [[nodiscard]] std::vector<Dims> infer_shapes(std::span<const InputArray> arrays,
                                               std::size_t profile,
                                               std::optional<cuda::StreamRef> stream);

  // Microseconds that each of `count` replays of a run's graph takes, from launch to done, with
  // inputs and outputs in device memory: what no way of calling the engine can undercut.
  [[nodiscard]] std::vector<double> time_replays(std::size_t profile,
                                                 std::span<const InputArray> arrays,
                                                 std::size_t count);

  // Times `count` runs from and to page-locked memory, one after the other. Throws Error for a
  // tensor on the host, or one whose shape depends on the data.
  [[nodiscard]] PhaseTimes time_phases(std::size_t profile, std::span<const InputArray> arrays,
                                       std::size_t count);

  // What TensorRT's profiler reports of `count` runs without graphs, in the order of its first
  // report. Throws Error as time_phases(), and where nothing is reported.
  [[nodiscard]] std::vector<LayerTimes> time_layers(std::size_t profile,
                                                    std::span<const InputArray> arrays,
                                                    std::size_t count);

 private:
  struct Trial;
  [[nodiscard]] Trial prepare_trial(std::size_t profile, std::span<const InputArray> arrays);
  void drop_profiler();
  [[nodiscard]] bool is_over_for_the_host(std::span<const OutputArray> results) const;
  void follow_earlier_work(std::span<const InputArray> arrays, cuda::StreamRef stream);
  [[nodiscard]] std::size_t stage(std::span<const InputArray> arrays, std::size_t profile,
                                  std::span<const OutputArray> results, cuda::StreamRef stream);
  [[nodiscard]] std::vector<InputArray> with_values(std::span<const InputArray> arrays) const;
  void renew_context(cuda::StreamRef stream);
  void tell_shapes(std::span<const InputArray> arrays, std::size_t profile, cuda::StreamRef stream);
  void bind(const std::string& tensor, void* address);
  void bind_outputs(std::span<OutputArray> results, std::span<const Dims> shapes);
  void enqueue(std::span<const InputArray> arrays, std::size_t profile,
               std::span<OutputArray> results, cuda::StreamRef stream);
  [[nodiscard]] bool enqueue_in_order(cuda::StreamRef stream);
  [[nodiscard]] std::unique_lock<std::mutex> lock_compiling() const;
  [[nodiscard]] const IoTensor* unrecordable_output() const noexcept;
  void require_recordable() const;
  [[nodiscard]] cuda::GraphExec capture(bool copies, std::string& problem);
  [[nodiscard]] cuda::Graph capture_undisturbed(bool copies, bool& queued);
  [[nodiscard]] bool replay(std::span<OutputArray> results, cuda::StreamRef stream);
  void record(Recording& recording, cuda::StreamRef stream);
  void choose_graph(Recording& recording, cuda::StreamRef stream, std::string& problem);
  [[nodiscard]] double replay_time(const cuda::GraphExec& graph) const;
  void forget() noexcept;

  SessionSetup& setup_;
  std::shared_ptr<nvinfer::RuntimeConfig> config_;
  cuda::Stream stream_;
  cuda::Event done_;  // of work that was queued and not waited for
  Waiter waiter_;
  std::vector<InputSlot> inputs_;
  std::vector<OutputSlot> outputs_;
  Recordings recordings_;
  std::vector<void*> addresses_;   // of the inputs, for the run at hand
  std::vector<std::int64_t> key_;  // of the run at hand, see stage()
  std::vector<Dims> told_;         // the inputs' shapes as the context has them
  std::size_t profile_ = 0;
  std::size_t changes_ = 0;  // of shape, since the context was made
  bool pending_ = false;     // whether done_ marks work that may be under way
  bool doubtful_ = false;    // a recording failed: what it left in the context is not known
  bool is_v8_;
  std::unique_ptr<nvinfer::ExecutionContext> context_;  // first to go: it uses all of the above
};

}  // namespace fasttrt::engine
