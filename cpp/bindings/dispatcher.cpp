// Runs that nobody stands waiting for: the queue of an engine.
#include "bindings/dispatcher.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/choice.hpp"
#include "bindings/engine_call.hpp"
#include "bindings/function_call.hpp"
#include "bindings/function_runner.hpp"
#include "bindings/gil.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "bindings/request.hpp"
#include "bindings/waiting.hpp"
#include "common/error.hpp"
#include "engine/completion_channel.hpp"
#include "engine/dispatcher.hpp"
#include "engine/engine_runner.hpp"

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

// Of engines of one plan.
std::vector<EngineParts> all_parts(const py::sequence& engines) {
  std::vector<EngineParts> parts;
  for (const auto& engine : engines) {
    parts.push_back(engine_parts(py::reinterpret_borrow<py::object>(engine)));
  }
  if (parts.empty()) throw InputError("a dispatcher needs something to run requests on");
  return parts;
}

// Not on one of its own threads, which a function may be called on: Python's garbage collector runs
// wherever it is due.
void dispose(engine::Dispatcher* dispatcher) {
  if (dispatcher->is_worker()) {
    std::thread([dispatcher] { delete dispatcher; }).detach();
  } else {
    delete dispatcher;
  }
}

class PyDispatcher {
 public:
  PyDispatcher(const py::object& runner, const DispatcherOptions& options,
               const py::sequence& inputs, const py::sequence& outputs) {
    std::vector<std::unique_ptr<engine::Runner>> runners;
    engine::RunTensors tensors;
    if (PyCallable_Check(runner.ptr()) != 0) {
      function_tensors_ = FunctionTensors::of(inputs, outputs);
      if (options.batching && function_tensors_.empty()) {
        throw InputError("a function can only be batched with inputs and outputs of known dtypes");
      }
      function_ = runner;
      runners.push_back(std::make_unique<FunctionRunner>(function_, function_tensors_));
      tensors = {function_tensors_.inputs, function_tensors_.outputs, nullptr, nullptr};
    } else {
      engines_ = all_parts(runner);
      for (const auto& engine : engines_) {
        runners.push_back(std::make_unique<engine::EngineRunner>(*engine.engine));
      }
      const auto& first = *engines_.front().engine;
      tensors = {first.inputs(), first.outputs(), first.pool(), &first.copies()};
    }
    auto made = std::make_unique<engine::Dispatcher>(std::move(runners), tensors, options);
    dispatcher_ = std::shared_ptr<engine::Dispatcher>(made.release(), &dispose);
  }
  ~PyDispatcher() {
    if (process_.is_another()) {
      new (std::nothrow)
          std::shared_ptr<engine::Dispatcher>(std::move(dispatcher_));  // the parent's
      return;
    }
    const GilRelease release;   // waits for runs that may need it
    dispatcher_->close(false);  // requests may hold it for longer
  }
  PyDispatcher(const PyDispatcher&) = delete;
  PyDispatcher& operator=(const PyDispatcher&) = delete;

  Ref<PyRequest> submit(const py::sequence& arrays, const py::object& out, bool stage,
                        const Terms& terms, std::shared_ptr<CompletionChannel> channel,
                        py::object token) {
    const auto request = make(arrays, out, terms);
    request->channel = std::move(channel);
    request->token = std::move(token);
    request->shares_copies = true;
    // Safe: the request holds the arrays. Others hold the dispatcher's lock for moments, and never
    // wait for the GIL meanwhile.
    const GilRelease release;
    dispatcher_->submit(request, stage ? engine::Staging::copy : engine::Staging::lend);
    return request;
  }

  py::object infer(const py::sequence& arrays, const py::object& out, const Terms& terms) {
    const auto request = make(arrays, out, terms);
    {
      // As in submit(). Under load, taking the GIL between the two would cost as much as a request.
      const GilRelease release;
      dispatcher_->run(request);
      constexpr std::chrono::milliseconds interval(50);
      std::ignore = request->wait_until(Clock::now() + interval);
    }
    try {
      std::ignore = request->wait(std::nullopt);
    } catch (...) {  // Ctrl-C; the arrays may be used until it is done
      const GilRelease release;
      if (!dispatcher_->cancel(*request)) {
        std::ignore = request->wait_until(Clock::time_point::max());
      }
      throw;
    }
    if (request->outcome() == Outcome::cancelled) throw Error("the engine is closed");
    return request->results();
  }

  void reserve() const {
    const GilRelease release;  // no Python object is touched
    dispatcher_->reserve();
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
    py::dict of_requests;
    of_requests["queue"] = seconds(found.request_queue);
    of_requests["staging"] = seconds(found.staging);
    of_requests["run"] = seconds(found.request_run);
    of_requests["copy_out"] = seconds(found.request_copy_out);
    py::dict batches;
    for (const auto& [size, runs] : found.batches) {
      batches[py::int_(size)] =
          py::make_tuple(runs.count, seconds(runs.run), seconds(runs.copy_out));
    }
    py::dict all;
    all["requests"] = requests;
    all["runs"] = found.runs;
    all["rows"] = found.rows;
    all["run_sizes"] = py::cast(found.run_sizes);
    all["waiting"] = found.waiting;
    all["most_waiting"] = found.most_waiting;
    all["running"] = found.running;
    all["last_arrival"] = seconds(found.last_arrival.time_since_epoch());
    all["seconds"] = times;
    all["request_seconds"] = of_requests;
    all["batches"] = batches;
    return all;
  }

  bool close(bool drain) {
    if (process_.is_another()) return true;
    {
      const GilRelease release;  // waits for runs that may need it
      dispatcher_->close(drain);
    }
    PyRequest::bury_dead();
    return !dispatcher_->is_worker();
  }

  [[nodiscard]] engine::Dispatcher& dispatcher() const { return *dispatcher_; }

  // Whether requests may come with arrays that are none of Python's.
  [[nodiscard]] bool takes_arrays() const {
    return !engines_.empty() || !function_tensors_.empty();
  }
  [[nodiscard]] const std::shared_ptr<engine::Dispatcher>& shared() const {
    if (process_.is_another()) throw Error("the dispatcher belongs to another process");
    return dispatcher_;
  }

 private:
  Ref<PyRequest> make(const py::sequence& arrays, const py::object& out, const Terms& terms) {
    if (process_.is_another()) throw Error("the dispatcher belongs to another process");
    PyRequest::bury_dead();
    Ref<PyRequest> request;
    if (engines_.empty()) {
      request = Ref<PyRequest>(new FunctionCall(dispatcher_, function_, arrays, out));
    } else {
      request = Ref<PyRequest>(new EngineCall(dispatcher_, engines_.front(), {arrays, out}));
    }
    if (terms.priority != 0) request->priority = engine::Priority::high;
    request->deadline = time_after(terms.timeout);
    return request;
  }

  const Process process_;
  py::object function_;
  FunctionTensors function_tensors_;
  std::vector<EngineParts> engines_;
  std::shared_ptr<engine::Dispatcher> dispatcher_;
};

}  // namespace

std::shared_ptr<engine::Dispatcher> dispatcher_of(const py::object& object) {
  const auto& dispatcher = object.cast<const PyDispatcher&>();
  if (!dispatcher.takes_arrays()) {
    throw InputError(
        "the dispatcher takes arrays of Python's only: its function's dtypes are not known");
  }
  return dispatcher.shared();
}

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
          py::arg("policy"))
      .def(
          "set_batching",
          [](DispatcherOptions& self, std::int64_t max_size, std::int64_t max_delay_us,
             const std::vector<std::int64_t>& sizes) {
            self.batching = {max_size, std::chrono::microseconds(max_delay_us), sizes};
          },
          py::arg("max_size"), py::arg("max_delay_us"), py::arg("sizes"));
  py::class_<PyDispatcher>(module, "Dispatcher", "A queue of runs, and the threads that do them.")
      .def(py::init<const py::object&, const DispatcherOptions&, const py::sequence&,
                    const py::sequence&>(),
           py::arg("runner"), py::arg("options"), py::arg("inputs") = py::tuple(),
           py::arg("outputs") = py::tuple(),
           "runner: engines of one plan, or a function: runner(arrays, out) returns the results, "
           "and is called on threads of the dispatcher's. inputs and outputs are those of a "
           "function, each (name, dtype, shape, [(min, opt, max)]), so that arrays may come from "
           "elsewhere than Python, in batches, too; it must not keep them.")
      .def_property_readonly("takes_arrays", &PyDispatcher::takes_arrays,
                             "Whether arrays may come from elsewhere than Python.")
      .def(
          "submit",
          [](PyDispatcher& self, const py::sequence& arrays, const py::object& out, bool stage,
             int priority, std::optional<double> timeout,
             std::shared_ptr<CompletionChannel> channel, py::object token) {
            return self.submit(arrays, out, stage, {priority, timeout}, std::move(channel),
                               std::move(token));
          },
          py::arg("arrays"), py::arg("out"), py::arg("stage") = false, py::arg("priority") = 0,
          py::arg("timeout") = py::none(), py::arg("channel") = py::none(),
          py::arg("token") = py::none(),
          "Queue a run. priority: 0, or 1 for before all others; timeout: seconds until its "
          "deadline. stage: the arrays may be changed once this returns, otherwise not until it is "
          "done (a function gets them as they are). The channel gets the request with the token "
          "when it is done. Raises InputError, QueueFullError, Error once closed.")
      .def(
          "infer",
          [](PyDispatcher& self, const py::sequence& arrays, const py::object& out, int priority,
             std::optional<double> timeout) {
            return self.infer(arrays, out, {priority, timeout});
          },
          py::arg("arrays"), py::arg("out"), py::arg("priority") = 0,
          py::arg("timeout") = py::none(), "Queue a run, wait for it, and return its results.")
      .def("reserve", &PyDispatcher::reserve,
           "Allocate what batches gather in, so that the first ones need not wait for it.")
      .def("statistics", &PyDispatcher::statistics)
      .def(
          "flush", [](const PyDispatcher& self) { self.dispatcher().flush(); }, ReleaseGil(),
          "From now on no batch waits for requests to join it.")
      .def("close", &PyDispatcher::close, py::arg("drain"),
           "Refuse runs from now on; run what is queued (drain) or cancel it; wait for the rest. "
           "False within a run of its own, where it cannot wait.")
      .def_property_readonly("closed",
                             [](const PyDispatcher& self) { return self.dispatcher().closed(); });
}

}  // namespace fasttrt::bindings
