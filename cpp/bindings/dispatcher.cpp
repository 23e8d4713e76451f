// Runs that nobody stands waiting for: the queue of an engine.
#include "engine/dispatcher.hpp"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/choice.hpp"
#include "bindings/function_call.hpp"
#include "bindings/gil.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "bindings/request.hpp"
#include "bindings/waiting.hpp"
#include "common/error.hpp"
#include "engine/completion_channel.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::CompletionChannel;
using engine::DispatcherOptions;
using engine::Outcome;

// How a request is to be treated.
struct Terms {
  int priority = 0;
  std::optional<double> timeout;
};

class PyDispatcher {
 public:
  PyDispatcher(py::function function, const DispatcherOptions& options)
      : function_(std::move(function)) {
    std::vector<std::unique_ptr<engine::Runner>> runners;
    runners.push_back(std::make_unique<FunctionRunner>());
    dispatcher_ = std::make_shared<engine::Dispatcher>(std::move(runners), options);
  }
  ~PyDispatcher() {
    if (process_.is_another()) {
      new std::shared_ptr<engine::Dispatcher>(std::move(dispatcher_));  // the parent's
      return;
    }
    const GilRelease release;  // waits for runs that may need it
    dispatcher_->close(false);
  }
  PyDispatcher(const PyDispatcher&) = delete;
  PyDispatcher& operator=(const PyDispatcher&) = delete;

  Ref<PyRequest> submit(const py::sequence& arrays, const py::object& out, const Terms& terms,
                        std::shared_ptr<CompletionChannel> channel, py::object token) {
    const auto request = make(arrays, out, terms);
    request->channel = std::move(channel);
    request->token = std::move(token);
    const GilRelease release;  // the dispatcher's lock is held for moments, without the GIL
    dispatcher_->submit(request);
    return request;
  }

  py::object infer(const py::sequence& arrays, const py::object& out, const Terms& terms) {
    const auto request = make(arrays, out, terms);
    {
      const GilRelease release;  // as in submit()
      dispatcher_->submit(request);
    }
    try {
      std::ignore = request->wait(std::nullopt);
    } catch (...) {  // Ctrl-C; the arrays may be used until it is done
      const GilRelease release;
      if (!dispatcher_->cancel(*request)) request->wait_until(Clock::time_point::max());
      throw;
    }
    if (request->outcome() == Outcome::cancelled) throw Error("the engine is closed");
    return request->results();
  }

  [[nodiscard]] py::dict statistics() const {
    const auto found = dispatcher_->statistics();
    const auto seconds = [](auto time) { return std::chrono::duration<double>(time).count(); };
    py::dict requests;
    requests["ok"] = found.ok;
    requests["error"] = found.errors;
    requests["deadline"] = found.late;
    requests["rejected"] = found.rejected;
    requests["cancelled"] = found.cancelled;
    py::dict times;
    times["queue"] = seconds(found.queue);
    times["staging"] = seconds(found.staging);
    times["run"] = seconds(found.run);
    times["copy_out"] = seconds(found.copy_out);
    py::dict all;
    all["requests"] = requests;
    all["runs"] = found.runs;
    all["rows"] = found.rows;
    all["run_sizes"] = py::cast(found.run_sizes);
    all["waiting"] = found.waiting;
    all["most_waiting"] = found.most_waiting;
    all["running"] = found.running;
    all["seconds"] = times;
    return all;
  }

  void close(bool drain) {
    if (process_.is_another()) return;
    {
      const GilRelease release;  // waits for runs that may need it
      dispatcher_->close(drain);
    }
    PyRequest::bury_dead();
  }

  [[nodiscard]] engine::Dispatcher& dispatcher() const { return *dispatcher_; }

 private:
  Ref<PyRequest> make(const py::sequence& arrays, const py::object& out, const Terms& terms) {
    if (process_.is_another()) throw Error("the dispatcher belongs to another process");
    PyRequest::bury_dead();
    Ref<PyRequest> request(new FunctionCall(dispatcher_, function_, arrays, out));
    if (terms.priority != 0) request->priority = engine::Priority::high;
    request->deadline = time_after(terms.timeout);
    return request;
  }

  const Process process_;
  py::function function_;
  std::shared_ptr<engine::Dispatcher> dispatcher_;
};

}  // namespace

void register_dispatcher(py::module_& module) {
  py::class_<DispatcherOptions>(module, "DispatcherOptions")
      .def(py::init<>())
      .def_readwrite("workers", &DispatcherOptions::workers)
      .def_readwrite("max_queue", &DispatcherOptions::max_queue)
      .def(
          "set_wait",
          [](DispatcherOptions& self, const std::string& policy) {
            self.wait = wait_policy(policy);
          },
          py::arg("policy"));
  py::class_<PyDispatcher>(module, "Dispatcher", "A queue of runs, and the threads that do them.")
      .def(py::init<py::function, const DispatcherOptions&>(), py::arg("runner"),
           py::arg("options"),
           "runner(arrays, out) returns the results; it is called on threads of the dispatcher's.")
      .def(
          "submit",
          [](PyDispatcher& self, const py::sequence& arrays, const py::object& out, bool /*stage*/,
             int priority, std::optional<double> timeout,
             std::shared_ptr<CompletionChannel> channel, py::object token) {
            return self.submit(arrays, out, {priority, timeout}, std::move(channel),
                               std::move(token));
          },
          py::arg("arrays"), py::arg("out"), py::arg("stage") = false, py::arg("priority") = 0,
          py::arg("timeout") = py::none(), py::arg("channel") = py::none(),
          py::arg("token") = py::none(),
          "Queue a run. priority: 0, or 1 for before all others; timeout: seconds until its "
          "deadline. The channel gets the request with the token when it is done. Raises "
          "QueueFullError, Error once closed.")
      .def(
          "infer",
          [](PyDispatcher& self, const py::sequence& arrays, const py::object& out, int priority,
             std::optional<double> timeout) {
            return self.infer(arrays, out, {priority, timeout});
          },
          py::arg("arrays"), py::arg("out"), py::arg("priority") = 0,
          py::arg("timeout") = py::none(), "Queue a run, wait for it, and return its results.")
      .def("statistics", &PyDispatcher::statistics)
      .def("close", &PyDispatcher::close, py::arg("drain"),
           "Refuse runs from now on; run what is queued (drain) or cancel it; wait for the rest.")
      .def_property_readonly("closed",
                             [](const PyDispatcher& self) { return self.dispatcher().closed(); });
}

}  // namespace fasttrt::bindings
