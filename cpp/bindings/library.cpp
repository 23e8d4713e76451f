// The TensorRT library that is in use.
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/gil.hpp"
#include "bindings/interpreter_shutdown.hpp"
#include "bindings/register.hpp"
#include "nvinfer/discovery.hpp"

namespace fasttrt::bindings {
namespace py = pybind11;

void register_library(py::module_& module) {
  using Handle = LibraryHandle;
  py::class_<Handle>(module, "Library")
      .def_property_readonly(
          "family", [](const Handle& self) { return nvinfer::family_name(self.library->family()); })
      .def_property_readonly("version",
                             [](const Handle& self) { return self.library->version().str(); })
      .def_property_readonly(
          "generation",
          [](const Handle& self) { return nvinfer::generation_name(self.library->generation()); })
      .def_property_readonly("path", [](const Handle& self) { return self.library->path(); })
      .def_property_readonly("parser_path",
                             [](const Handle& self) { return self.library->parser_path(); })
      .def_property_readonly("parser_problem",
                             [](const Handle& self) { return self.library->parser_problem(); })
      .def_property_readonly("can_build",
                             [](const Handle& self) { return self.library->can_build(); })
      .def_property_readonly("can_parse",
                             [](const Handle& self) { return self.library->can_parse(); })
      .def(
          "gpu_problem",
          [](const Handle& self, int major, int minor) {
            return nvinfer::gpu_problem(self.library->family(), self.library->version(), major,
                                        minor);
          },
          py::arg("major"), py::arg("minor"),
          "Why this library cannot run on a GPU of that compute capability; empty if it can.")
      .def(
          "load_plugins",
          [](const Handle& self, const std::string& path) { self.library->load_plugins(path); },
          py::arg("path"),
          BlockingVendorCallGuard(),  // runs the library's code; no Python object is touched
          "Register the plugins of a shared library with this TensorRT, once.")
      .def("__str__", [](const Handle& self) { return self.library->str(); });

  module.def(
      "library_candidates",
      [](std::string choice, std::string environment, std::vector<std::string> packages,
         std::pair<int, int> capability) {
        return nvinfer::library_candidates({std::move(choice), std::move(environment),
                                            std::move(packages), capability.first,
                                            capability.second});
      },
      py::arg("choice"), py::arg("environment"), py::arg("packages"), py::arg("capability"),
      "What find_library tries, in order: paths, and sonames for the loader's own search.");

  // Opening libraries reads files of 100 MB and more and touches no Python object.
  module.def(
      "find_library",
      [](std::string choice, std::string environment, std::vector<std::string> packages,
         std::pair<int, int> capability) {
        const nvinfer::SearchRequest request{std::move(choice), std::move(environment),
                                             std::move(packages), capability.first,
                                             capability.second};
        return Handle{nvinfer::find_library(request)};
      },
      py::arg("choice"), py::arg("environment"), py::arg("packages"), py::arg("capability"),
      ReleaseGil(), "Find and open a library; capability is the GPU's, (0, 0) if there is none.");

  module.def(
      "open_library", [](const std::string& name) { return Handle{nvinfer::Library::open(name)}; },
      py::arg("name"), ReleaseGil(),
      "Open a library by its path, or by a soname that the loader finds.");
}

}  // namespace fasttrt::bindings
