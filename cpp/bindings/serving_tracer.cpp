// Traces of requests.
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>

#include "bindings/gil.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "common/error.hpp"
#include "serving/tracer.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::Tracer;

std::shared_ptr<Tracer> open_tracer(const std::string& path) {
  const auto end = [process = Process()](Tracer* tracer) {
    if (process.is_another()) return;  // the parent's, whose thread is not here
    delete tracer;                     // NOLINT(cppcoreguidelines-owning-memory): as it was given
  };
  return {new Tracer(path), end};
}

void set(Tracer& self, const std::string& model, bool is_on, std::int64_t rate,
         std::int64_t count) {
  if (rate < 1) throw InputError("rate: expected at least 1, got " + std::to_string(rate));
  if (count < -1) throw InputError("count: expected at least -1, got " + std::to_string(count));
  self.sampling().set(model, {is_on, static_cast<std::uint64_t>(rate), count});
}

}  // namespace

void register_tracer(py::module_& module) {
  py::class_<Tracer, std::shared_ptr<Tracer>>(module, "Tracer",
                                              "Writes when what became of single requests.")
      .def(py::init(&open_tracer), py::arg("path"),
           "Begin a trace. Raises InputError where the file cannot be written, or is not a trace.")
      .def("set", &set, py::arg("model"), py::arg("is_on"), py::arg("rate"), py::arg("count"),
           "Trace one of so many requests to a model, so often (-1: for ever); '': to all models "
           "without a setting of their own.")
      .def(
          "clear", [](Tracer& self, const std::string& model) { self.sampling().clear(model); },
          py::arg("model"), "A model has no setting of its own any more.")
      .def(
          "remaining",
          [](Tracer& self, const std::string& model) {
            return self.sampling().setting(model).count;
          },
          py::arg("model"), "Return how many requests are still to be traced; -1: no limit.")
      .def(
          "close",
          [](Tracer& self) {
            const GilRelease release;  // waits for the file
            self.close();
          },
          "Wait until all is written, and write nothing more.");
}

}  // namespace fasttrt::bindings
