// What an array's type says about it.
#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

namespace fasttrt::bindings {

// An attribute's name, which Python keeps one string of. Needs the GIL.
class AttributeName {
 public:
  constexpr explicit AttributeName(const char* text) : text_(text) {}

  // A borrowed reference to a string that lives as long as the interpreter.
  [[nodiscard]] PyObject* get() const {
    return string_.call_once_and_store_result([this] { return intern(text_); }).get_stored().ptr();
  }

 private:
  [[nodiscard]] static pybind11::object intern(const char* text) {
    auto string = pybind11::reinterpret_steal<pybind11::object>(PyUnicode_InternFromString(text));
    if (!string) throw pybind11::error_already_set();
    return string;
  }

  const char* text_;
  mutable pybind11::gil_safe_call_once_and_store<pybind11::object> string_;
};

// What an object's type or a base of it has under a name; null if nothing. In a few nanoseconds, as
// Python keeps a cache for this. A reference of its own, since another thread may change the type.
[[nodiscard]] inline pybind11::object type_attribute(pybind11::handle object,
                                                     const AttributeName& name) {
  auto* const type = Py_TYPE(object.ptr());
#if PY_VERSION_HEX >= 0x030D0000
  return pybind11::reinterpret_steal<pybind11::object>(_PyType_LookupRef(type, name.get()));
#else
  return pybind11::reinterpret_borrow<pybind11::object>(_PyType_Lookup(type, name.get()));
#endif
}

}  // namespace fasttrt::bindings
