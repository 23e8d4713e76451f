// Errors of Python's functions as errors of the core.
#pragma once

#include <pybind11/pybind11.h>

namespace fasttrt::bindings {

// Throws the namesake of one of fasttrt.errors, and otherwise an Error that names its class. Needs
// the GIL.
[[noreturn]] void throw_as_core_error(const pybind11::error_already_set& error);

}  // namespace fasttrt::bindings
