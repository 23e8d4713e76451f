// fasttrt._core: the core as Python sees it. The typed layer in python/fasttrt wraps all of it.
#include "bindings/array_view.hpp"
#include "bindings/device_array.hpp"
#include "bindings/interpreter_shutdown.hpp"
#include "bindings/register.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The C++ core of fasttrt. Private: use the fasttrt package.";
  fasttrt::bindings::register_errors(module);
  fasttrt::bindings::register_log(module);
  fasttrt::bindings::register_device(module);
  fasttrt::bindings::register_library(module);
  fasttrt::bindings::register_builder(module);
  fasttrt::bindings::register_array_view(module);
  fasttrt::bindings::register_device_array(module);
  fasttrt::bindings::register_engine_options(module);
  fasttrt::bindings::register_engine(module);
  fasttrt::bindings::register_completion_channel(module);
  fasttrt::bindings::register_request(module);
  fasttrt::bindings::register_dispatcher(module);
  fasttrt::bindings::register_access_log(module);
  fasttrt::bindings::register_tracer(module);
  fasttrt::bindings::register_shared_memory(module);
  fasttrt::bindings::register_http_options(module);
  fasttrt::bindings::register_control_request(module);
  fasttrt::bindings::register_http_server(module);
  module.def("is_shutting_down", &fasttrt::bindings::is_shutting_down,
             "Whether drain_vendor_calls() was called: vendor calls are refused.");
  module.def("drain_vendor_calls", &fasttrt::bindings::drain_vendor_calls,
             "At the end of the interpreter: stop builds, wait for what is in TensorRT's code, and "
             "refuse to begin more.");
}
