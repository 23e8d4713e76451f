// One execution context with what a run needs: a stream, memory for inputs and outputs, and the
// CUDA graphs of its earlier runs. Used by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cuda/event.hpp"
#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/graph_runner.hpp"
#include "engine/input_slot.hpp"
#include "engine/io_tensor.hpp"
#include "engine/output_slot.hpp"
#include "engine/run_counts.hpp"
#include "engine/session_context.hpp"
#include "engine/shared_session_state.hpp"
#include "engine/wait.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

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
  // The device must be current here and in every call. configs: see
  // SessionContext.
  Session(SharedSessionState& shared, RuntimeConfigs configs);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs once, in the stream if one is given. arrays fit `profile`, see choose_profile(). results
  // has one entry for each output. Returns when the results are there; with a stream, all of the
  // outputs on the device and no page-locked input, as soon as the work is queued. Throws
  // InputError, CudaError, OutOfMemoryError or Error; the session stays usable.
  void run(std::span<const InputArray> arrays, std::size_t profile, std::span<OutputArray> results,
           std::optional<cuda::StreamRef> stream);
  // Runs from and to host memory until the run is a replay of a CUDA graph, or cannot be. Counts as
  // no run. Throws what run() throws.
  void warm_up(std::span<const InputArray> arrays, std::size_t profile);
  // The last round of warming up that has seen this session, for who makes them.
  std::uint64_t warmup_round = 0;

  // What the last run() was; none if it failed, or was taken before.
  [[nodiscard]] std::optional<RunRecord> take_record() noexcept {
    return std::exchange(record_, std::nullopt);
  }

  // Begins to bring bytes `begin` to `end` of an input's array in host memory to the device, for
  // the next run, which has it at the same address and copies the rest; of `capacity` bytes at
  // most. The bytes stay until that run is over, or forget_ahead() returns. Not for shape tensors.
  // Throws CudaError or OutOfMemoryError.
  void copy_ahead(std::size_t input, const std::byte* array, std::size_t begin, std::size_t end,
                  std::size_t capacity);
  // The same up to `end`, and fills the rest up to `capacity` with what the array begins with.
  // Returns false, and does nothing, for an array that is not copied to the device.
  [[nodiscard]] bool pad_ahead(std::size_t input, const std::byte* array, std::size_t end,
                               std::size_t capacity);
  void forget_ahead() noexcept;

  // The outputs' shapes for these inputs, with -1 for a dimension that only a run can tell.
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
  class QueuedRun;
  struct Trial;
  [[nodiscard]] Trial prepare_trial(std::size_t profile, std::span<const InputArray> arrays);
  void drop_profiler();
  void queue_run(std::span<const InputArray> arrays, std::size_t profile,
                 std::span<OutputArray> results, cuda::StreamRef stream);
  void wait(cuda::StreamRef stream);
  void complete(std::span<OutputArray> results);
  [[nodiscard]] bool can_return_early(std::span<const OutputArray> results) const;
  [[nodiscard]] bool lends_inputs() const;
  void wait_for_previous_run(std::span<const InputArray> arrays, cuda::StreamRef stream);
  [[nodiscard]] std::size_t stage(std::span<const InputArray> arrays, std::size_t profile,
                                  std::span<const OutputArray> results, cuda::StreamRef stream);
  [[nodiscard]] std::vector<InputArray> with_values(std::span<const InputArray> arrays) const;
  void renew_context(cuda::StreamRef stream);
  void set_inputs(std::span<const InputArray> arrays, std::size_t profile, cuda::StreamRef stream);
  [[nodiscard]] void* placed(const auto& place);
  void bind_outputs(std::span<OutputArray> results, std::span<const Dims> shapes);
  [[nodiscard]] bool replay(std::span<OutputArray> results, cuda::StreamRef stream);
  void enqueue(std::span<const InputArray> arrays, std::size_t profile,
               std::span<OutputArray> results, cuda::StreamRef stream);
  [[nodiscard]] bool enqueue_in_context(std::span<const InputArray> arrays, std::size_t profile,
                                        std::span<OutputArray> results, cuda::StreamRef stream);
  [[nodiscard]] bool enqueue_in_order(cuda::StreamRef stream);
  [[nodiscard]] bool is_prepared(std::span<const InputArray> arrays, std::size_t profile) const;
  void note_prepared(std::span<const InputArray> arrays, std::size_t profile);
  void note_memory() noexcept;
  [[nodiscard]] const IoTensor* uncapturable_output() const noexcept;
  void require_capturable() const;

  SharedSessionState& shared_;
  cuda::Stream stream_;
  cuda::Event done_;  // of work that was queued and not waited for
  Waiter waiter_;
  std::vector<InputSlot> inputs_;
  std::vector<OutputSlot> outputs_;
  GraphRunner graphs_;
  bool has_ahead_ = false;         // whether arrays were copied ahead since the last run
  std::vector<void*> addresses_;   // of the inputs, for the run at hand
  std::vector<std::int64_t> key_;  // of the run at hand, see stage()
  bool is_pending_ = false;        // whether done_ marks work that may be under way
  std::set<SizeKey> prepared_;     // sizes that the context has run, so that it compiles no more
  std::optional<RunRecord> record_;
  RunRecord run_;           // the run at hand
  MemoryHeld memory_;       // of the slots, as shared_ knows it
  SessionContext context_;  // first to go: it uses all of the above
};

}  // namespace fasttrt::engine
