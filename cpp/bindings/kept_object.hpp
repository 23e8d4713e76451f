// Python objects that the core holds.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace fasttrt::bindings {

// Keeps the object as long as a copy is there, the last of which any thread may drop, without the
// GIL: the next bury_kept_objects() lets go of the object.
[[nodiscard]] std::shared_ptr<void> keep_object(pybind11::object object);

// Needs the GIL.
void bury_kept_objects() noexcept;

}  // namespace fasttrt::bindings
