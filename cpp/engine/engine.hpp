// A plan loaded onto a GPU, ready to run from any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/device.hpp"
#include "engine/io_tensor.hpp"
#include "engine/run_counts.hpp"
#include "engine/run_gate.hpp"
#include "engine/runner.hpp"
#include "engine/session.hpp"
#include "engine/session_pool.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

// When TensorRT-RTX compiles kernels for a dynamic input's sizes: before the first run with them;
// in the background, with slower kernels meanwhile; never. The others have all from the build.
enum class Specialization { eager, lazy, none };

// The ONNX model whose weights an engine shall have.
struct OnnxSource {
  std::string path;              // the file; or where the external data of the bytes is relative to
  std::vector<std::byte> bytes;  // of a file; empty: read the one at `path`
};

struct EngineOptions {
  std::string name = "engine";   // for profilers
  int device = 0;                // ordinal
  int contexts = 1;              // how many runs may be under way at once
  bool allow_host_code = false;  // let a version-compatible plan run the host code that it carries
  Specialization specialization = Specialization::eager;
  GraphPolicy graphs = GraphPolicy::automatic;
  WaitPolicy wait = WaitPolicy::automatic;
  // Arrays of up to so many bytes lie in page-locked host memory that the GPU reads and writes in
  // place; larger ones are copied by its copy engines. Measured: the two were even at about 200 KiB
  // on an H200 (bench/transfers.py).
  std::size_t mapped_limit = std::size_t{128} << 10;
  std::size_t context_lifetime = 2048;   // changes of shape, see SharedSessionState; RTX only
  CaptureExclusion exclusion;            // what CUDA graphs are captured in
  std::vector<std::byte> runtime_cache;  // from runtime_cache(): kernels to begin with; RTX only
  std::string kernels_key;               // of whom it shares its kernels with, see SharedKernels
  std::optional<OnnxSource> weights;     // for a plan without weights, or instead of its own
  // Bytes of device memory for the weights of a plan built with weight_streaming; the rest of them
  // stays in host memory until it is needed. None: as TensorRT has it.
  std::optional<std::int64_t> weight_streaming_budget;
};

class Engine {
 public:
  // The plan's bytes are not needed afterwards. Throws EngineLoadError with TensorRT's error lines,
  // CudaError (no driver, no such device), OutOfMemoryError, InputError (weights, their
  // budget), or what refit() throws.
  Engine(std::shared_ptr<const nvinfer::Library> library, std::span<const std::byte> plan,
         const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const std::vector<IoTensor>& inputs() const noexcept { return shared_.inputs; }
  [[nodiscard]] const std::vector<IoTensor>& outputs() const noexcept { return shared_.outputs; }
  [[nodiscard]] const nvinfer::Library& library() const noexcept { return *library_; }
  [[nodiscard]] int device() const noexcept { return options_.device; }
  // Of page-locked memory for arrays that come and go.
  [[nodiscard]] const std::shared_ptr<PinnedPool>& pool() const noexcept { return shared_.pool; }
  // Who shares copies of large arrays.
  [[nodiscard]] CopyPool& copies() const noexcept { return *shared_.copies; }
  [[nodiscard]] int layer_count() const;
  // What TensorRT made of the network, layer by layer: JSON, in the vendor's form, as detailed as
  // the build's profiling verbosity made it.
  [[nodiscard]] std::string layer_information() const;

  // Runs once; from any thread. arrays: one an input, alive until the run is over. results: one an
  // output. Waits, unless there is a stream and all results are on the device, see Session::run().
  // Throws InputError for shapes that no profile takes, Error once closed.
  void infer(std::span<const InputArray> arrays, std::span<OutputArray> results,
             std::optional<cuda::StreamRef> stream = std::nullopt);

  // A session for one run of a batch, see Runner: it must be given back for close() and refit() to
  // go on. Throw Error once closed.
  [[nodiscard]] std::unique_ptr<GatheredRun> gather();
  [[nodiscard]] std::unique_ptr<GatheredRun> try_gather(std::size_t largest_input);

  // The outputs' shapes for these inputs, with -1 for a dimension that only a run can tell. Throws
  // as infer() does.
  [[nodiscard]] std::vector<Dims> infer_shapes(std::span<const InputArray> arrays,
                                               std::optional<cuda::StreamRef> stream);

  // Runs these sizes in every session, made now where there is none yet, until nothing of them is
  // cold: kernels are compiled, memory is allocated, CUDA graphs are captured. In sizes that
  // shrink, so that no memory is replaced later. The arrays lie in host memory; their values do not
  // matter. Throws as infer() does.
  void warm_up(std::span<const InputArray> arrays);

  // What it has done, and what it holds; also once closed.
  [[nodiscard]] RunCounts counts() const;
  [[nodiscard]] MemoryHeld memory() const;
  // Counts a call that failed on its way here.
  void count_error(const std::exception& error) noexcept;

  // See Session::time_replays().
  [[nodiscard]] std::vector<double> time_replays(std::span<const InputArray> arrays,
                                                 std::size_t count);
  // See Session::time_phases(), Session::time_layers().
  [[nodiscard]] PhaseTimes time_phases(std::span<const InputArray> arrays, std::size_t count);
  [[nodiscard]] std::vector<LayerTimes> time_layers(std::span<const InputArray> arrays,
                                                    std::size_t count);

  // without_weights: only of an engine that can be refitted. These throw Error.
  [[nodiscard]] std::unique_ptr<nvinfer::HostMemory> serialize(bool without_weights) const;
  // The kernels that TensorRT-RTX has compiled so far, for a later engine of the same plan. Null
  // where all of them were in the options or in an earlier answer, for the other libraries, and
  // with Specialization::lazy, where each context has its own.
  [[nodiscard]] std::unique_ptr<nvinfer::HostMemory> runtime_cache();

  // Replaces the weights by those of a model with the same structure, after the runs under way; new
  // ones wait until it is done. Throws InputError with TensorRT's error lines, before anything has
  // changed, for a model that does not fit; Error for an engine that was not built for it;
  // UnsupportedLibraryError. If TensorRT fails midway (Error) runs are refused until a refit
  // succeeds.
  void refit(const OnnxSource& model);
  // Names of the weights that refit() replaces. Throws Error for an engine not built for it.
  [[nodiscard]] std::vector<std::string> refittable_weights() const;

  // Waits for runs under way, then frees everything. Further calls do nothing.
  void close() noexcept;
  [[nodiscard]] bool closed() const;

 private:
  class GatheredSession;
  class SessionLease;
  class SharedAccess;  // these three: engine_access.hpp
  class ExclusiveAccess;
  void run(std::span<const InputArray> arrays, std::span<OutputArray> results,
           std::optional<cuda::StreamRef> stream);
  void prepare_weights();
  void load(std::span<const std::byte> plan);
  [[nodiscard]] IoTensor describe(const std::string& name) const;
  void learn_output_shapes(Session& session);
  [[nodiscard]] std::unique_ptr<Session> make_session();
  [[nodiscard]] std::shared_ptr<nvinfer::RuntimeConfig> make_config();

  std::shared_ptr<const nvinfer::Library> library_;
  EngineOptions options_;
  CopyPool serial_copier_{0};                       // for who wants no thread to spin
  SharedSessionState shared_;                       // its device and engine are null once closed
  std::shared_ptr<nvinfer::RuntimeConfig> config_;  // null where each context has its own, or none

  mutable RunGate gate_;
  SessionPool<Session> sessions_;  // needs the gate's lock, as the counts do
  RunCounts counts_;
  std::uint64_t warmup_rounds_ = 0;
  std::string broken_;  // why the weights are of no use; changed by who is alone inside
};

}  // namespace fasttrt::engine
