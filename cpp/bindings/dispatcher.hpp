// What is behind a _core.Dispatcher.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "engine/dispatcher.hpp"

namespace fasttrt::bindings {

// The engines or the function that it runs are the Python object's, which must be held as long as
// requests come. Throws InputError where it takes arrays of Python's only.
[[nodiscard]] std::shared_ptr<engine::Dispatcher> dispatcher_of(const pybind11::object& object);

}  // namespace fasttrt::bindings
