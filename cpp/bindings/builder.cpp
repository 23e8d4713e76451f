// Building: parse, look at the network's inputs, build.
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/buffer.hpp"
#include "bindings/gil.hpp"
#include "bindings/interpreter_shutdown.hpp"
#include "bindings/register.hpp"
#include "common/deep_thread.hpp"
#include "engine/plan_builder.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::BuildOptions;
using engine::NetworkTensor;
using engine::PlanBuilder;
using engine::Profile;

// (phase, parent, step, steps)
using ProgressEvent = std::tuple<std::string, std::string, int, int>;

// Progress from TensorRT's threads, for the thread that owns the interpreter to take.
class ProgressQueue final : public nvinfer::ProgressListener {
 public:
  void phase_start(const std::string& phase, const std::string& parent, int steps) override {
    const std::lock_guard lock(mutex_);
    phases_[phase] = {parent, steps};
    events_.emplace_back(phase, parent, 0, steps);
  }
  void step_complete(const std::string& phase, int step) override {
    const std::lock_guard lock(mutex_);
    const auto& [parent, steps] = phases_[phase];
    events_.emplace_back(phase, parent, step + 1, steps);
  }
  void phase_finish(const std::string& phase) override {
    const std::lock_guard lock(mutex_);
    const auto& [parent, steps] = phases_[phase];
    events_.emplace_back(phase, parent, steps, steps);
  }
  [[nodiscard]] bool cancelled() const noexcept override { return cancelled_; }

  void cancel() noexcept { cancelled_ = true; }
  [[nodiscard]] std::vector<ProgressEvent> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(events_, {});
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::pair<std::string, int>> phases_;
  std::vector<ProgressEvent> events_;
  std::atomic<bool> cancelled_ = false;
};

std::span<const std::byte> to_span(std::string_view bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

// The build runs on a thread of its own while this one serves the interpreter: it forwards the
// log and the progress to `poll` and notices Ctrl-C. So TensorRT's threads never need the GIL.
py::tuple build(PlanBuilder& builder, const BuildOptions& options,
                const std::vector<Profile>& profiles, const py::function& poll) {
  const BlockingVendorCall call;
  ProgressQueue progress;
  std::packaged_task task([&] { return builder.build(options, profiles, progress); });
  auto result = task.get_future();
  const DeepThread thread([&] { task(); });
  constexpr std::chrono::milliseconds interval(50);
  std::optional<py::error_already_set> stopped;
  bool done = false;
  while (!done) {
    {
      // Safe: waits for a thread that uses only C++ objects, which this frame keeps alive.
      const GilRelease release;
      done = result.wait_for(interval) == std::future_status::ready;
    }
    if (is_shutting_down()) progress.cancel();
    if (stopped || progress.cancelled()) continue;  // it gets to its next step before it can stop
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      poll(progress.take(), done);
    } catch (py::error_already_set& error) {
      stopped.emplace(error);
      progress.cancel();
    }
  }
  if (stopped) throw py::error_already_set(*stopped);  // not what it made the build throw
  const auto built = result.get();
  return py::make_tuple(to_bytes(built.plan.get()), to_bytes(built.timing_cache.get()));
}

py::list describe(const std::vector<NetworkTensor>& tensors) {
  py::list result;
  for (const auto& tensor : tensors) {
    py::list names;
    for (const auto& name : tensor.dimension_names) names.append(to_str(name));
    result.append(py::make_tuple(
        to_str(tensor.name), nvinfer::dtype_name(tensor.dtype),
        py::tuple(py::cast(std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end()))),
        py::tuple(names), tensor.is_shape_tensor));
  }
  return result;
}

}  // namespace

void register_builder(py::module_& module) {
  py::class_<BuildOptions>(module, "BuildOptions")
      .def(py::init<>())
      .def_readwrite("workspace", &BuildOptions::workspace)
      .def_readwrite("optimization_level", &BuildOptions::optimization_level)
      .def_readwrite("max_aux_streams", &BuildOptions::max_aux_streams)
      .def_readwrite("profiling_verbosity", &BuildOptions::profiling_verbosity)
      .def_readwrite("hardware_compatibility", &BuildOptions::hardware_compatibility)
      .def_readwrite("version_compatible", &BuildOptions::version_compatible)
      .def_readwrite("exclude_lean_runtime", &BuildOptions::exclude_lean_runtime)
      .def_readwrite("refit", &BuildOptions::refit)
      .def_readwrite("strip_weights", &BuildOptions::strip_weights)
      .def_readwrite("weight_streaming", &BuildOptions::weight_streaming)
      .def_readwrite("tf32", &BuildOptions::tf32)
      .def_readwrite("fp16", &BuildOptions::fp16)
      .def_readwrite("quantized", &BuildOptions::quantized)
      .def_readwrite("compute_capabilities", &BuildOptions::compute_capabilities)
      .def(
          "set_timing_cache",
          [](BuildOptions& self, std::string_view data) {
            const auto bytes = to_span(data);
            self.timing_cache.assign(bytes.begin(), bytes.end());
            self.use_timing_cache = true;
          },
          py::arg("data"), "Use a timing cache; empty data begins one.");

  py::class_<engine::InputRange>(module, "InputRange")
      .def(py::init<std::string, std::vector<std::int64_t>, std::vector<std::int64_t>,
                    std::vector<std::int64_t>>(),
           py::arg("name"), py::arg("min"), py::arg("opt"), py::arg("max"));

  // Parsing and building take seconds to hours and touch no Python object while they run.
  py::class_<PlanBuilder>(module, "PlanBuilder")
      .def(py::init([](const LibraryHandle& library, std::optional<int> device) {
             const BlockingVendorCall call;
             const GilRelease unlocked;
             return std::make_unique<PlanBuilder>(library.library, device);
           }),
           py::arg("library"), py::arg("device"))
      .def("parse_file", &PlanBuilder::parse_file, py::arg("path"), BlockingVendorCallGuard())
      .def(
          "parse",
          [](PlanBuilder& self, std::string_view model, const std::string& base) {
            const BlockingVendorCall call;
            const GilRelease unlocked;  // the caller's bytes stay alive and unchanged
            self.parse(to_span(model), base);
          },
          py::arg("model"), py::arg("base"))
      .def(
          "inputs", [](const PlanBuilder& self) { return describe(self.inputs()); },
          "(name, dtype, shape, dimension names, is a shape tensor) of each.")
      .def("outputs", [](const PlanBuilder& self) { return describe(self.outputs()); })
      .def_property_readonly("layer_count", &PlanBuilder::layer_count)
      .def(
          "tensor_types",
          [](const PlanBuilder& self) {
            py::dict result;
            for (const auto& [type, count] : self.tensor_types()) {
              result[py::str(nvinfer::dtype_name(type))] = count;
            }
            return result;
          },
          "How many of the layers' outputs have each type.")
      .def_property_readonly("can_cancel", &PlanBuilder::can_cancel)
      .def(
          "build", &build, py::arg("options"), py::arg("profiles"), py::arg("poll"),
          "Build and return (plan, timing cache or None). poll(events, done) is called every 50 ms "
          "with the progress since, as (phase, parent, step, steps).");
}

}  // namespace fasttrt::bindings
