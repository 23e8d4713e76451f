// One register function a file; module.cpp calls them in order.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/text.hpp"
#include "nvinfer/library.hpp"

namespace fasttrt::bindings {

void register_errors(pybind11::module_& module);
void register_log(pybind11::module_& module);
void register_device(pybind11::module_& module);
void register_library(pybind11::module_& module);
void register_builder(pybind11::module_& module);
void register_engine_options(pybind11::module_& module);
void register_engine(pybind11::module_& module);
void register_completion_channel(pybind11::module_& module);
void register_request(pybind11::module_& module);
void register_dispatcher(pybind11::module_& module);
void register_access_log(pybind11::module_& module);
void register_tracer(pybind11::module_& module);
void register_shared_memory(pybind11::module_& module);
void register_http_options(pybind11::module_& module);
void register_control_request(pybind11::module_& module);
void register_http_server(pybind11::module_& module);

// A library as Python holds it (pybind11 has no holder for a pointer to const).
struct LibraryHandle {
  std::shared_ptr<const nvinfer::Library> library;
};

}  // namespace fasttrt::bindings
