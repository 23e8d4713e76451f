// Running: arrays in, arrays out.
#include "engine/engine.hpp"

#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/buffer.hpp"
#include "bindings/call_resources.hpp"
#include "bindings/engine_call.hpp"
#include "bindings/gil.hpp"
#include "bindings/interpreter_shutdown.hpp"
#include "bindings/output_shape_cache.hpp"
#include "bindings/register.hpp"
#include "bindings/run_arguments.hpp"
#include "common/error.hpp"
#include "cuda/event.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::Engine;
using engine::EngineOptions;
using nvinfer::Dims;

class PyEngine {
 public:
  PyEngine(const LibraryHandle& library, const py::buffer& plan, const EngineOptions& options) {
    const BlockingVendorCall call;
    {
      const Buffer buffer("plan", plan);
      const GilRelease release;  // safe: `buffer` holds the memory, and no Python object is touched
      engine_ = std::make_unique<Engine>(library.library, buffer.bytes(), options);
      if (is_shutting_down()) engine_.reset();  // nobody would close it
    }
    if (engine_ == nullptr) throw Error("the interpreter is ending");
    resources_ = std::make_unique<CallResources>(engine_->device());
    for (const auto& tensor : engine_->inputs()) {
      inputs_.push_back({tensor, numpy_dtype(tensor.dtype)});
    }
    for (const auto& tensor : engine_->outputs()) {
      outputs_.push_back({tensor, numpy_dtype(tensor.dtype)});
    }
  }

  ~PyEngine() {
    if (is_inherited()) {
      abandon();
      return;
    }
    // Freeing may wait for runs of other threads, and for the library's own threads.
    const BlockingVendorCall call(AtShutdown::finish);
    const GilRelease release;
    engine_.reset();
  }
  PyEngine(const PyEngine&) = delete;
  PyEngine& operator=(const PyEngine&) = delete;

  py::list infer(const py::sequence& arrays, const py::object& out,
                 std::optional<std::uintptr_t> stream) {
    bool is_begun = false;
    try {
      return run(arrays, out, stream, is_begun);
    } catch (const std::exception& error) {
      if (!is_begun) engine_->count_error(error);
      throw;
    }
  }

  py::list run(const py::sequence& arrays, const py::object& out,
               std::optional<std::uintptr_t> stream, bool& is_begun) {
    SpareStream spare(*resources_);
    RunArguments arguments(engine_->device(), inputs_, outputs_, {arrays, out},
                           stream ? std::optional(as_stream(*stream)) : std::nullopt, spare);
    if (arguments.wants_shapes()) arguments.allocate(output_shapes(arguments));
    const auto queue = arguments.stream();
    std::optional<cuda::Event> done;
    {
      // Safe: `arguments` owns every array whose memory is used meanwhile.
      const GilRelease release;
      is_begun = true;
      engine_->infer(arguments.inputs(), arguments.outputs(), queue);
      if (queue && arguments.must_wait()) wait(*queue);
      if (queue && stream) done = mark(*queue);
    }
    if (done) resources_->hold(std::move(*done), arguments.take_owners());
    ++calls_;
    return arguments.results();
  }

  [[nodiscard]] std::vector<double> time_replays(const py::sequence& arrays, std::size_t count) {
    SpareStream spare(*resources_);
    const RunArguments arguments(engine_->device(), inputs_, outputs_, {arrays, py::none()},
                                 std::nullopt, spare);
    const GilRelease release;  // as in infer()
    wait_for_inputs(arguments);
    return engine_->time_replays(arguments.inputs(), count);
  }

  [[nodiscard]] py::dict time_phases(const py::sequence& arrays, std::size_t count) {
    SpareStream spare(*resources_);
    const RunArguments arguments(engine_->device(), inputs_, outputs_, {arrays, py::none()},
                                 std::nullopt, spare);
    engine::PhaseTimes times;
    {
      const GilRelease release;  // as in infer()
      wait_for_inputs(arguments);
      times = engine_->time_phases(arguments.inputs(), count);
    }
    py::dict found;
    found["h2d"] = times.h2d;
    found["compute"] = times.compute;
    found["d2h"] = times.d2h;
    found["enqueue"] = times.enqueue;
    found["total"] = times.total;
    found["graph"] = times.graph;
    return found;
  }

  [[nodiscard]] py::list profile(const py::sequence& arrays, std::size_t runs) {
    SpareStream spare(*resources_);
    const RunArguments arguments(engine_->device(), inputs_, outputs_, {arrays, py::none()},
                                 std::nullopt, spare);
    std::vector<engine::LayerTimes> layers;
    {
      const GilRelease release;  // as in infer()
      wait_for_inputs(arguments);
      layers = engine_->time_layers(arguments.inputs(), runs);
    }
    py::list list;
    for (const auto& [layer, times] : layers) list.append(py::make_tuple(to_str(layer), times));
    return list;
  }

  void warm_up(const py::sequence& arrays) {
    const BlockingVendorCall call;
    SpareStream spare(*resources_);
    const RunArguments arguments(engine_->device(), inputs_, outputs_, {arrays, py::none()},
                                 std::nullopt, spare);
    const GilRelease release;  // as in infer()
    engine_->warm_up(arguments.inputs());
  }

  [[nodiscard]] py::dict statistics() const {
    engine::RunCounts counts;
    engine::MemoryHeld memory;
    {
      const GilRelease release;  // no Python object is touched
      counts = engine_->counts();
      memory = engine_->memory();
    }
    const auto seconds = [](engine::RunClock::duration time) {
      return std::chrono::duration<double>(time).count();
    };
    py::dict sizes;
    for (const auto& [rows, runs] : counts.runs_by_rows) sizes[py::int_(rows)] = runs;
    py::dict found;
    found["calls"] = calls_.load();
    found["runs"] = counts.runs;
    found["rows"] = counts.rows;
    found["batch_sizes"] = sizes;
    found["graph_replays"] = counts.replays;
    found["graph_captures"] = counts.captures;
    found["compiles"] = counts.compiles;
    found["compile_seconds"] = seconds(counts.compile);
    found["queue_seconds"] = seconds(counts.queue);
    found["staging_seconds"] = seconds(counts.staging);
    found["compute_seconds"] = seconds(counts.compute);
    found["copy_out_seconds"] = seconds(counts.copy_out);
    py::dict errors;
    const auto add_errors = [&](const char* kind, std::uint64_t count) {
      if (count > 0) errors[kind] = count;
    };
    add_errors("InputError", counts.input_errors);
    add_errors("CudaError", counts.cuda_errors);
    add_errors("OutOfMemoryError", counts.memory_errors);
    add_errors("Error", counts.other_errors);
    found["errors"] = errors;
    found["device_bytes"] = memory.device;
    found["pinned_bytes"] = memory.pinned;
    return found;
  }

  [[nodiscard]] py::list specs(bool inputs) const {
    py::list list;
    for (const auto& [tensor, dtype] : inputs ? inputs_ : outputs_) {
      py::list profiles;
      for (const auto& range : tensor.profiles) {
        if (tensor.on_host) {
          profiles.append(py::make_tuple(py::tuple(py::cast(range.min_values)),
                                         py::tuple(py::cast(range.opt_values)),
                                         py::tuple(py::cast(range.max_values))));
        } else {
          profiles.append(py::make_tuple(shape_tuple(range.min), shape_tuple(range.opt),
                                         shape_tuple(range.max)));
        }
      }
      list.append(py::make_tuple(to_str(tensor.name), dtype, shape_tuple(tensor.shape),
                                 tensor.on_host, profiles));
    }
    return list;
  }

  [[nodiscard]] py::object serialize(bool without_weights) const {
    return unlocked([&] { return engine_->serialize(without_weights); });
  }

  [[nodiscard]] py::object runtime_cache() const {
    const BlockingVendorCall call(AtShutdown::finish);
    return unlocked([&] { return engine_->runtime_cache(); });
  }

  [[nodiscard]] py::str layer_information() const {
    std::string text;
    {
      const GilRelease release;  // no Python object is touched
      text = engine_->layer_information();
    }
    return to_str(text);
  }

  [[nodiscard]] py::list refittable_weights() const {
    std::vector<std::string> names;
    {
      const GilRelease release;  // no Python object is touched
      names = engine_->refittable_weights();
    }
    py::list list;
    for (const auto& name : names) list.append(to_str(name));
    return list;
  }

  void close() {
    if (is_inherited()) return;
    const BlockingVendorCall call(AtShutdown::finish);
    {
      const GilRelease release;  // waits for runs of other threads
      engine_->close();
    }
    resources_->close();
  }

  [[nodiscard]] Engine& engine() const { return *engine_; }
  [[nodiscard]] EngineParts parts(py::object self) const {
    return {std::move(self), engine_.get(), &inputs_, &outputs_, resources_.get()};
  }

 private:
  // The memory that a function gives, as bytes, or None.
  template <class Function>
  static py::object unlocked(const Function& function) {
    std::unique_ptr<nvinfer::HostMemory> memory;
    {
      const GilRelease release;  // no Python object is touched
      memory = function();
    }
    return to_bytes(memory.get());
  }

  // In a forked process: CUDA does not work there, and the threads of runs that were under way are
  // not there.
  [[nodiscard]] bool is_inherited() const noexcept { return getpid() != owner_; }

  // Leaves what is the parent's as it is.
  void abandon() noexcept {
    std::ignore = engine_.release();
    std::ignore = resources_.release();
  }

  void wait(cuda::StreamRef stream) const {
    const auto context = cuda::PrimaryContext::retain(engine_->device());
    const cuda::ContextGuard guard(*context);
    stream.synchronize();
  }

  // The arrays of a trial are copied in a stream of the engine's own.
  void wait_for_inputs(const RunArguments& arguments) const {
    if (const auto queue = arguments.stream()) wait(*queue);
  }

  [[nodiscard]] cuda::Event mark(cuda::StreamRef stream) const {
    const auto context = cuda::PrimaryContext::retain(engine_->device());
    const cuda::ContextGuard guard(*context);
    cuda::Event done(context);
    done.record(stream);
    return done;
  }

  // The outputs' shapes for these inputs: known beforehand, or as an earlier call found them.
  std::vector<Dims> output_shapes(const RunArguments& arguments) {
    std::vector<Dims> given;
    for (const auto& array : arguments.inputs()) given.push_back(array.shape);
    if (auto found = shapes_.find(given)) return std::move(*found);
    std::vector<Dims> shapes;
    {
      const GilRelease release;  // as in infer()
      shapes = engine_->infer_shapes(arguments.inputs(), arguments.stream());
    }
    const bool fixed =
        std::ranges::none_of(inputs_, [](const Binding& input) { return input.tensor.on_host; });
    if (fixed) shapes_.add(std::move(given), shapes);
    return shapes;
  }

  std::atomic<std::uint64_t> calls_ = 0;  // of infer() that have not failed
  const pid_t owner_ = getpid();
  std::unique_ptr<Engine> engine_;
  std::vector<Binding> inputs_;
  std::vector<Binding> outputs_;
  OutputShapeCache shapes_;
  std::unique_ptr<CallResources> resources_;  // in a forked process the parent's, as the engine is
};

}  // namespace

EngineParts engine_parts(const py::object& object) {
  if (!py::isinstance<PyEngine>(object)) {
    throw InputError("expected a _core.Engine, got " + type_name(object));
  }
  return object.cast<const PyEngine&>().parts(object);
}

void register_engine(py::module_& module) {
  py::class_<PyEngine>(module, "Engine")
      .def(py::init<const LibraryHandle&, const py::buffer&, const EngineOptions&>(),
           py::arg("library"), py::arg("plan"), py::arg("options"),
           "Load a plan from any contiguous memory, which is read in place and not kept.")
      .def("infer", &PyEngine::infer, py::arg("arrays"), py::arg("out"), py::arg("stream"),
           "Run once: an array for each input, in order; out has None or an array for each output. "
           "With a stream (a CUDA handle) and results on the GPU the work is queued there.")
      .def("warm_up", &PyEngine::warm_up, py::arg("arrays"),
           "Run these in every context until nothing of their sizes is cold.")
      .def(
          "statistics", &PyEngine::statistics,
          "What it has done so far: counts, seconds by what they went to, and bytes that it holds.")
      .def("time_replays", &PyEngine::time_replays, py::arg("arrays"), py::arg("count"),
           "Microseconds of each replay of the run's CUDA graph, inputs and outputs on the GPU.")
      .def("time_phases", &PyEngine::time_phases, py::arg("arrays"), py::arg("count"),
           "Microseconds of each run's parts: h2d, compute, d2h (GPU events), enqueue (the host's "
           "clock); total of all runs; graph: whether a CUDA graph was launched.")
      .def("profile", &PyEngine::profile, py::arg("arrays"), py::arg("runs"),
           "[(layer, milliseconds of each run)] by TensorRT's profiler, without CUDA graphs.")
      .def(
          "inputs", [](const PyEngine& self) { return self.specs(true); },
          "(name, dtype, shape, on host, [(min, opt, max) of each profile]) of each input. For a "
          "tensor on the host min, opt and max are values.")
      .def("outputs", [](const PyEngine& self) { return self.specs(false); })
      .def("serialize", &PyEngine::serialize, py::arg("without_weights"))
      .def("runtime_cache", &PyEngine::runtime_cache,
           "The kernels that TensorRT-RTX has compiled; None where there are none that were not in "
           "the options or in an earlier answer, or the library has no such cache.")
      .def("layer_information", &PyEngine::layer_information,
           "TensorRT's own account of the engine's layers, as JSON.")
      .def(
          "refit_file",
          [](const PyEngine& self, std::string path) {
            self.engine().refit({std::move(path), {}});
          },
          py::arg("path"), ReleaseGil())  // waits for runs; no Python object is touched
      .def(
          "refit",
          [](const PyEngine& self, const py::buffer& model, std::string base) {
            const auto source = onnx_source(model, std::move(base));
            const GilRelease release;  // as above
            self.engine().refit(source);
          },
          py::arg("model"), py::arg("base"))
      .def("refittable_weights", &PyEngine::refittable_weights,
           "Names of the weights that a refit replaces.")
      .def("close", &PyEngine::close)
      .def_property_readonly(
          "closed", py::cpp_function([](const PyEngine& self) { return self.engine().closed(); },
                                     ReleaseGil()))
      .def_property_readonly("device", [](const PyEngine& self) { return self.engine().device(); })
      .def_property_readonly(
          "layer_count",
          py::cpp_function([](const PyEngine& self) { return self.engine().layer_count(); },
                           ReleaseGil()));
}

}  // namespace fasttrt::bindings
