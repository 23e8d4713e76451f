// What the sessions of an engine share: the engine, its tensors, and how it shall run.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/copy_pool.hpp"
#include "cuda/device.hpp"
#include "engine/array.hpp"
#include "engine/host_buffer.hpp"
#include "engine/io_tensor.hpp"
#include "engine/shared_kernels.hpp"
#include "engine/wait.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

// required: a run that cannot be captured fails.
enum class GraphPolicy { never, automatic, required };

// Does the work while the program's other threads stay away from the GPU, as far as somebody can
// see to that. While a run is captured, whoever waits for the whole device fails, and so does the
// capture, in whatever thread.
using CaptureExclusion = std::function<void(const std::function<void()>& work)>;

// What profilers call the parts of a run, see common/nvtx.hpp.
struct RangeNames {
  explicit RangeNames(const std::string& engine = "engine")
      : staging(engine + ": staging"),
        enqueue(engine + ": enqueue"),
        wait(engine + ": wait"),
        copy_out(engine + ": copy-out"),
        batch(engine + ": batch") {}
  std::string staging, enqueue, wait, copy_out, batch;
};

[[nodiscard]] SizeKey size_key(std::size_t profile, std::span<const InputArray> arrays);

// Outlives the sessions.
struct SharedSessionState {
  std::shared_ptr<nvinfer::CudaEngine> engine;
  std::shared_ptr<cuda::PrimaryContext> device;
  std::shared_ptr<PinnedPool> pool;
  std::vector<IoTensor> inputs;
  std::vector<IoTensor> outputs;
  GraphPolicy graphs = GraphPolicy::automatic;
  WaitPolicy wait = WaitPolicy::automatic;
  std::size_t mapped_limit = 0;  // bytes, see InputSlot
  CopyPool* copies = nullptr;    // never null in use
  CaptureExclusion exclusion;    // empty: nobody can
  RangeNames ranges;
  // Whether runs compile kernels, see SharedKernels.
  bool compiles = false;
  // Whether all runs that can be captured are launched as graphs, since kernels that are queued one
  // by one begin too early, see cuda::StreamCapture.
  bool separates_kernels = false;
  std::shared_ptr<SharedKernels> kernels;  // never null in use
  // After so many changes of shape a session makes its context anew; 0: never. TensorRT-RTX 1.6.1
  // keeps some 11 KB of host memory for every change until its context goes.
  std::size_t context_lifetime = 0;
  // The sizes of earlier runs, for counting; needs the kernels' lock. True for one that was not
  // among them.
  [[nodiscard]] bool is_new_size(std::size_t profile, std::span<const InputArray> arrays);
  std::set<SizeKey> sizes;
  // What the sessions' slots hold, in bytes.
  struct {
    std::atomic<std::size_t> device = 0, pinned = 0;
  } memory;
  // How often a capture failed. Somebody may have disturbed it, so it is tried again, but not
  // forever: most likely this model cannot be captured.
  std::atomic<int> failed_captures = 0;
};

}  // namespace fasttrt::engine
