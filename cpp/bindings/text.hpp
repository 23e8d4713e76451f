// Python's words for messages, and text of the vendor's for Python.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace fasttrt::bindings {

// str(object). Throws what that raises.
[[nodiscard]] inline std::string text_of(pybind11::handle object) { return pybind11::str(object); }

// The name of an object's type.
[[nodiscard]] inline std::string type_name(pybind11::handle object) {
  return text_of(pybind11::type::of(object).attr("__name__"));
}

// Of an exception's text, which a traceback may follow.
[[nodiscard]] inline std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

// UTF-8 as a rule, but a damaged plan may hold anything.
[[nodiscard]] inline pybind11::str to_str(std::string_view text) {
  return pybind11::reinterpret_steal<pybind11::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

}  // namespace fasttrt::bindings
