// One register function a file; module.cpp calls them in order.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string_view>

#include "nvinfer/library.hpp"

namespace fasttrt::bindings {

void register_errors(pybind11::module_& module);
void register_log(pybind11::module_& module);
void register_device(pybind11::module_& module);
void register_library(pybind11::module_& module);
void register_builder(pybind11::module_& module);
void register_engine_options(pybind11::module_& module);
void register_engine(pybind11::module_& module);

// A library as Python holds it (pybind11 has no holder for a pointer to const).
struct LibraryHandle {
  std::shared_ptr<const nvinfer::Library> library;
};

// Text of the vendor's: UTF-8 as a rule, but a damaged plan may hold anything.
[[nodiscard]] inline pybind11::str to_str(std::string_view text) {
  return pybind11::reinterpret_steal<pybind11::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

}  // namespace fasttrt::bindings
