// What an array's type says about it.
#pragma once

#include <pybind11/pybind11.h>

namespace fasttrt::bindings {

// What an object's type or a base of it has under an interned name; null if nothing, or for a null
// name. In a few nanoseconds, as Python keeps a cache for this. A borrowed reference: sound since
// this extension needs the GIL (it does not declare py::mod_gil_not_used), and while it is held.
[[nodiscard]] inline PyObject* type_attribute(pybind11::handle object, PyObject* name) noexcept {
  return name != nullptr ? _PyType_Lookup(Py_TYPE(object.ptr()), name) : nullptr;
}

}  // namespace fasttrt::bindings
