// How an engine runs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/buffer.hpp"
#include "bindings/choice.hpp"
#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "engine/engine.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::EngineOptions;

void set_graphs(EngineOptions& self, const std::string& value) {
  using engine::GraphPolicy;
  self.graphs = choose<GraphPolicy>("cuda_graph", value,
                                    {{"never", GraphPolicy::never},
                                     {"automatic", GraphPolicy::automatic},
                                     {"required", GraphPolicy::required}});
}

void set_specialization(EngineOptions& self, const std::string& value) {
  using engine::Specialization;
  self.specialization = choose<Specialization>("specialization", value,
                                               {{"eager", Specialization::eager},
                                                {"lazy", Specialization::lazy},
                                                {"none", Specialization::none}});
}

}  // namespace

void register_engine_options(py::module_& module) {
  py::class_<EngineOptions>(module, "EngineOptions")
      .def(py::init([] {
        EngineOptions options;
        options.exclusion = &with_gil;
        return options;
      }))
      .def_property(
          "name", [](const EngineOptions& self) { return to_str(self.name); },
          [](EngineOptions& self, std::string name) { self.name = std::move(name); })
      .def_readwrite("device", &EngineOptions::device)
      .def_readwrite("contexts", &EngineOptions::contexts)
      .def_readwrite("allow_host_code", &EngineOptions::allow_host_code)
      .def_readwrite("mapped_limit", &EngineOptions::mapped_limit)
      .def_readwrite("context_lifetime", &EngineOptions::context_lifetime)
      .def("set_cuda_graph", &set_graphs, py::arg("policy"))
      .def(
          "set_wait",
          [](EngineOptions& self, const std::string& policy) { self.wait = wait_policy(policy); },
          py::arg("policy"))
      .def("set_specialization", &set_specialization, py::arg("strategy"))
      .def_readwrite("weight_streaming_budget", &EngineOptions::weight_streaming_budget)
      .def_property(
          "kernels_key", [](const EngineOptions& self) { return to_str(self.kernels_key); },
          [](EngineOptions& self, std::string key) { self.kernels_key = std::move(key); })
      .def(
          "set_runtime_cache",
          [](EngineOptions& self, const py::buffer& data) {
            const Buffer buffer("runtime_cache", data);
            const auto bytes = buffer.bytes();
            self.runtime_cache.assign(bytes.begin(), bytes.end());
          },
          py::arg("data"), "Kernels to begin with, from Engine.runtime_cache(); RTX only.")
      .def(
          "set_weights_file",
          [](EngineOptions& self, std::string path) { self.weights = {std::move(path), {}}; },
          py::arg("path"), "Load the weights of this ONNX file into the engine.")
      .def(
          "set_weights",
          [](EngineOptions& self, const py::buffer& model, std::string base) {
            self.weights = onnx_source(model, std::move(base));
          },
          py::arg("model"), py::arg("base"));
}

}  // namespace fasttrt::bindings
