// What a server is started with.
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "bindings/register.hpp"
#include "bindings/text.hpp"
#include "common/error.hpp"
#include "nvinfer/dims.hpp"
#include "serving/access_log.hpp"
#include "serving/http_options.hpp"
#include "serving/served_model.hpp"
#include "serving/shared_memory_table.hpp"
#include "serving/tracer.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::HttpOptions;
using serving::ServedTensor;

// Seconds to Python.
template <HttpOptions::Duration HttpOptions::* member>
void add_duration(py::class_<HttpOptions>& options, const char* name) {
  options.def_property(
      name,
      [](const HttpOptions& self) { return std::chrono::duration<double>(self.*member).count(); },
      [](HttpOptions& self, double seconds) {
        constexpr double longest = 1e9;
        const double milliseconds = std::ceil(std::clamp(seconds, 0.0, longest) * 1000);
        self.*member = HttpOptions::Duration(static_cast<std::int64_t>(milliseconds));
      });
}

ServedTensor make_tensor(std::string name, std::string datatype,
                         const std::vector<std::int64_t>& sizes) {
  if (sizes.size() > nvinfer::max_rank) {
    throw InputError(name + ": expected at most 8 dimensions, got " + std::to_string(sizes.size()));
  }
  nvinfer::Dims shape(static_cast<int>(sizes.size()));
  for (int axis = 0; axis < shape.rank(); ++axis)
    shape[axis] = sizes[static_cast<std::size_t>(axis)];
  return {std::move(name), std::move(datatype), shape};
}

}  // namespace

void register_http_options(py::module_& module) {
  py::class_<HttpOptions> options(module, "HttpOptions", "Times are in seconds.");
  options.def(py::init<>())
      .def_readwrite("host", &HttpOptions::host)
      .def_readwrite("port", &HttpOptions::port)
      .def_readwrite("grpc_port", &HttpOptions::grpc_port)
      .def_readwrite("threads", &HttpOptions::threads)
      .def_readwrite("backlog", &HttpOptions::backlog)
      .def_readwrite("max_connections", &HttpOptions::max_connections)
      .def_readwrite("max_header_bytes", &HttpOptions::max_header_bytes)
      .def_readwrite("max_body_bytes", &HttpOptions::max_body_bytes)
      .def_readwrite("max_message_bytes", &HttpOptions::max_message_bytes)
      .def_readwrite("max_buffered_bytes", &HttpOptions::max_buffered_bytes)
      .def_readwrite("max_control_requests", &HttpOptions::max_control_requests)
      .def_readwrite("access_log", &HttpOptions::access_log)
      .def_readwrite("tracer", &HttpOptions::tracer)
      .def_readwrite("shared_memory", &HttpOptions::shared_memory)
      .def_readwrite("api_keys", &HttpOptions::api_keys);
  add_duration<&HttpOptions::idle_timeout>(options, "idle_timeout");
  add_duration<&HttpOptions::header_timeout>(options, "header_timeout");
  add_duration<&HttpOptions::body_timeout>(options, "body_timeout");
  py::class_<ServedTensor>(module, "ServedTensor", "A tensor as clients see it.")
      .def(py::init(&make_tensor), py::arg("name"), py::arg("datatype"), py::arg("shape"))
      .def_readonly("name", &ServedTensor::name)
      .def_readonly("datatype", &ServedTensor::datatype)
      .def_property_readonly("shape", [](const ServedTensor& self) {
        py::list sizes;
        for (const auto size : self.shape) sizes.append(size);
        return py::tuple(sizes);
      });
}

}  // namespace fasttrt::bindings
