// Requests that are done, for an event loop or a thread that waits for many.
#include "engine/completion_channel.hpp"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/gil.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "bindings/request.hpp"
#include "bindings/waiting.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::CompletionChannel;
using engine::RequestRef;

// All requests here were made by the bindings.
py::list take(CompletionChannel& self) {
  PyRequest::bury_dead();
  py::list list;
  for (auto& request : self.take()) {
    auto own = Ref<PyRequest>::adopt(dynamic_cast<PyRequest*>(request.take()));
    auto token = std::exchange(own->token, py::none());  // it may hold the request: a cycle
    list.append(py::make_tuple(std::move(token), std::move(own)));
  }
  return list;
}

}  // namespace

void register_completion_channel(py::module_& module) {
  py::class_<CompletionChannel, std::shared_ptr<CompletionChannel>>(
      module, "CompletionChannel", "Gathers requests that are done; any number of dispatchers.")
      .def(py::init<>())
      .def("fileno", &CompletionChannel::descriptor,
           "A descriptor that is readable while requests are here, or it is closed.")
      .def("take", &take, "[(token, request)] of all that are done, in their order; clears it.")
      .def(
          "wait",
          [](const CompletionChannel& self, std::optional<double> timeout) {
            return wait_heeding_signals(
                       time_after(timeout),
                       [&](auto time) { return self.wait_until(time) || self.is_closed(); }) &&
                   !self.is_closed();
          },
          py::arg("timeout") = py::none(),
          "Wait so many seconds, and return whether requests are here; False once it is closed. "
          "Ctrl-C is heeded.")
      .def(
          "close", [](CompletionChannel& self) { self.close(); },
          "Drop the requests to come, and wake whoever waits; those here may still be taken.");
}

}  // namespace fasttrt::bindings
