#include "bindings/request.hpp"

#include <pybind11/stl.h>

#include <atomic>
#include <exception>
#include <optional>
#include <utility>

#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "bindings/waiting.hpp"
#include "common/error.hpp"
#include "engine/completion_channel.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::Outcome;

// A list of them.
std::atomic<PyRequest*>& dead_requests() noexcept {
  static std::atomic<PyRequest*> first = nullptr;
  return first;
}

}  // namespace

void PyRequest::destroy() noexcept {
  if (process_.is_another()) return;
  if (PyGILState_Check() != 0) {
    delete this;
    return;
  }
  next_dead_ = dead_requests();
  while (!dead_requests().compare_exchange_weak(next_dead_, this)) {
  }
}

void PyRequest::bury_dead() noexcept {
  if (dead_requests().load(std::memory_order_relaxed) == nullptr) return;
  for (auto* request = dead_requests().exchange(nullptr); request != nullptr;) {
    delete std::exchange(request, request->next_dead_);
  }
}

py::object PyRequest::results() {
  if (!is_done()) throw Error("the request is not done");
  if (outcome() == Outcome::cancelled) throw Error("the request was cancelled");
  throw_python_error();
  if (error() != nullptr) std::rethrow_exception(error());
  std::unique_lock lock(making_, std::try_to_lock);
  if (!lock) {  // another thread is making them
    const GilRelease release;
    lock.lock();
  }
  if (!results_) results_ = make_results();
  return results_;
}

bool PyRequest::wait(std::optional<Clock::time_point> end) const {
  if (is_done()) return true;
  if (process_.is_another()) throw Error("the request belongs to another process");
  return wait_heeding_signals(end, [this](auto time) { return wait_until(time); });
}

bool PyRequest::cancel() {
  if (is_done() || process_.is_another()) return false;
  const GilRelease release;  // others hold the dispatcher's lock for moments, without the GIL
  const auto dispatcher = dispatcher_.lock();
  return dispatcher != nullptr && dispatcher->cancel(*this);
}

void PyRequest::attach(std::shared_ptr<engine::CompletionChannel> channel, py::object given) {
  if (process_.is_another()) return;
  token = std::move(given);
  engine::RequestRef self(this);
  const GilRelease release;  // as in cancel()
  if (const auto dispatcher = dispatcher_.lock()) {
    dispatcher->attach(self, std::move(channel));
  } else {
    channel->push({&self, 1});
  }
}

void register_request(py::module_& module) {
  py::class_<PyRequest, Ref<PyRequest>>(module, "Request", "A run that a Dispatcher was asked for.")
      .def_property_readonly("done", &PyRequest::is_done)
      .def_property_readonly("running", &PyRequest::is_running,
                             "Whether it has begun, and not ended.")
      .def_property_readonly("cancelled",
                             [](const PyRequest& self) {
                               return self.is_done() && self.outcome() == Outcome::cancelled;
                             })
      .def(
          "wait",
          [](const PyRequest& self, std::optional<double> timeout) {
            return self.wait(time_after(timeout));
          },
          py::arg("timeout") = py::none(),
          "Wait so many seconds for it to be done, and return whether it is; Ctrl-C is heeded.")
      .def("cancel", &PyRequest::cancel, "Whether it had not begun; then it is done.")
      .def("attach", &PyRequest::attach, py::arg("channel"), py::arg("token"),
           "As if submitted with this channel; at once if it is done. Only without a channel.")
      .def("results", &PyRequest::results,
           "Return the results, or raise what the run raised; only once it is done.");
}

}  // namespace fasttrt::bindings
