// A request that the control plane answers.
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "common/error.hpp"
#include "serving/control_queue.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::ControlRequest;

// HTTP's text has no encoding; every byte has a character in this one.
py::str to_latin1(std::string_view text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}

std::string from_latin1(const py::str& text) {
  const auto bytes = py::reinterpret_steal<py::bytes>(PyUnicode_AsLatin1String(text.ptr()));
  if (!bytes) throw py::error_already_set();
  return bytes;
}

// What cannot be encoded is replaced: logs are to be readable.
std::string to_utf8(const py::str& text) {
  const auto bytes =
      py::reinterpret_steal<py::bytes>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "replace"));
  if (!bytes) throw py::error_already_set();
  return bytes;
}

py::list headers_of(const ControlRequest& request) {
  py::list headers;
  for (const auto& [name, value] : request.headers) {
    headers.append(py::make_tuple(to_latin1(name), to_latin1(value)));
  }
  return headers;
}

void respond(ControlRequest& request, int status,
             const std::vector<std::pair<py::str, py::str>>& headers, const py::buffer& body,
             const std::tuple<py::str, py::str, py::str>& subject) {
  const int least = request.is_grpc ? 0 : 200;
  const int most = request.is_grpc ? 16 : 599;
  if (status < least || status > most) {
    throw InputError("status: expected " + std::to_string(least) + " to " + std::to_string(most) +
                     ", got " + std::to_string(status));
  }
  serving::HttpResponse response;
  response.status = status;
  const auto& [model, version, id] = subject;
  response.subject = {to_utf8(model), to_utf8(version), to_utf8(id)};
  for (const auto& [name, value] : headers) {
    serving::add_header(response, from_latin1(name), from_latin1(value));
  }
  Py_buffer view{};
  if (PyObject_GetBuffer(body.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  response.body.assign(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len));
  PyBuffer_Release(&view);
  const GilRelease release;  // nothing of Python's is touched
  request.respond(std::move(response));
}

}  // namespace

void register_control_request(py::module_& module) {
  py::class_<ControlRequest>(
      module, "ControlRequest",
      "A whole HTTP request, or a message of gRPC; it is answered with 500 (13, INTERNAL) "
      "if it is dropped.")
      .def_property_readonly("is_grpc", [](const ControlRequest& self) { return self.is_grpc; })
      .def_property_readonly("method",
                             [](const ControlRequest& self) { return to_latin1(self.method); })
      .def_property_readonly(
          "target", [](const ControlRequest& self) { return to_latin1(self.target); },
          "Path and query, percent-encoded as they came.")
      .def_property_readonly("headers", &headers_of, "Names and values, as they came.")
      .def_property_readonly(
          "body",
          [](const ControlRequest& self) {
            const auto bytes = self.body.bytes();
            return py::bytes(bytes.data(), bytes.size());
          },
          "A copy.")
      .def_property_readonly(
          "peer", [](const ControlRequest& self) { return self.peer; },
          "The client's address and port.")
      .def("respond", &respond, py::arg("status"), py::arg("headers"), py::arg("body"),
           py::arg("subject") = std::tuple("", "", ""),
           "Answer, from any thread; nothing happens if the client has gone. Content-Length and "
           "Connection are the server's. subject: model, version and id, for logs. Of gRPC, the "
           "status is its own, 0 for OK; the body is the "
           "message, or the reason. Raises InputError for invalid headers, Error the second time.");
}

}  // namespace fasttrt::bindings
