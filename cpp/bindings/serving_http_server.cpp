// The front end, HTTP and gRPC.
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/dispatcher.hpp"
#include "bindings/gil.hpp"
#include "bindings/kept_object.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "bindings/waiting.hpp"
#include "common/error.hpp"
#include "serving/http_server.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::ControlQueue;
using serving::FailureReason;
using serving::HttpOptions;
using serving::HttpServer;
using serving::LatencyHistogram;
using serving::ServedModel;
using serving::ServedTensor;

struct Route {
  std::string name;
  std::string version;
};

class PyHttpServer {
 public:
  explicit PyHttpServer(const HttpOptions& options)
      : server_(std::make_unique<HttpServer>(options)) {}
  ~PyHttpServer() {  // NOLINT(bugprone-exception-escape): close() throws for another's server alone
    if (process_.is_another()) {
      std::ignore = server_.release();  // the parent's
      return;
    }
    std::ignore = close(0);
  }
  PyHttpServer(const PyHttpServer&) = delete;
  PyHttpServer& operator=(const PyHttpServer&) = delete;

  [[nodiscard]] HttpServer& server() const {
    if (process_.is_another()) throw Error("the server belongs to another process");
    return *server_;
  }

  void start() const {
    const GilRelease release;  // nothing of Python's is touched
    server().start();
  }

  void set_model(Route route, const py::object& dispatcher, std::vector<ServedTensor> inputs,
                 std::vector<ServedTensor> outputs, bool is_default,
                 std::int64_t max_batch_size) const {
    bury_kept_objects();
    const auto found = dispatcher_of(dispatcher);
    // Its engines must be there as long as requests come.
    struct Kept {
      std::shared_ptr<void> object;
      std::shared_ptr<engine::Dispatcher> dispatcher;
    };
    const auto kept = std::make_shared<Kept>(Kept{keep_object(dispatcher), found});
    const std::shared_ptr<engine::Dispatcher> shared(kept, kept->dispatcher.get());
    auto model =
        std::make_shared<const ServedModel>(std::move(route.name), std::move(route.version), shared,
                                            std::move(inputs), std::move(outputs), max_batch_size);
    server().models().set(std::move(model), is_default);
  }

  void remove_model(const Route& route) const {
    server().models().remove(route.name, route.version);
    bury_kept_objects();
  }

  [[nodiscard]] py::dict counters(const Route& route) const {
    py::dict found;
    const auto model = server().models().find(route.name, route.version);
    const auto* const counters = model == nullptr ? nullptr : &model->counters();
    const auto failures = [&](FailureReason reason) {
      return counters == nullptr ? 0
                                 : counters->failures.at(static_cast<std::size_t>(reason)).load();
    };
    found["success"] = counters == nullptr ? 0 : counters->success.load();
    found["success_ns"] = counters == nullptr ? 0 : counters->success_ns.load();
    found["latency"] = counters == nullptr
                           ? std::vector<std::uint64_t>(LatencyHistogram::bucket_count)
                           : counters->latency.counts();
    found["rows"] = counters == nullptr ? 0 : counters->rows.load();
    found["rejected"] = failures(FailureReason::rejected);
    found["canceled"] = failures(FailureReason::canceled);
    found["backend"] = failures(FailureReason::backend);
    found["other"] = failures(FailureReason::other);
    found["fail_ns"] = counters == nullptr ? 0 : counters->fail_ns.load();
    found["last_ms"] = counters == nullptr ? 0 : counters->last_ms.load();
    return found;
  }

  [[nodiscard]] ControlQueue::RequestPtr next(std::optional<double> timeout) const {
    bury_kept_objects();
    ControlQueue::RequestPtr request;
    auto& queue = server().control();
    bool is_interrupted = false;
    std::ignore = wait_heeding_signals(time_after(timeout), [&](auto time) {
      request = queue.pop_until(time);
      is_interrupted = request == nullptr && (queue.is_closed() || Clock::now() < time);
      return request != nullptr || is_interrupted;
    });
    return request;
  }

  [[nodiscard]] py::list take_engine_failures() const {
    py::list failures;
    for (const auto& failure : server().control().take_failures()) {
      failures.append(py::make_tuple(failure.model, failure.version, to_str(failure.message)));
    }
    return failures;
  }

  [[nodiscard]] bool close(double grace) const {
    bool all_ended = true;
    {
      const GilRelease release;  // waits for clients, whose requests may need it
      constexpr double longest = 1e9;
      const std::chrono::duration<double> time(std::clamp(grace, 0.0, longest));
      all_ended = server().close(std::chrono::duration_cast<HttpServer::Clock::duration>(time));
    }
    bury_kept_objects();
    return all_ended;
  }

 private:
  const Process process_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace

void register_http_server(py::module_& module) {
  module.def(
      "latency_bounds_ns", [] { return py::tuple(py::cast(LatencyHistogram::bounds_ns())); },
      "The longest time of each bucket of latencies but the last, which has no limit.");
  py::class_<PyHttpServer>(module, "HttpServer",
                           "Answers plain infer requests, and passes all others on.")
      .def(py::init<const HttpOptions&>(), py::arg("options"),
           "Listen; clients wait until start(). Raises InputError, Error that names host and port, "
           "and LibraryNotFoundError where there is to be gRPC without nghttp2.")
      .def_property_readonly("port", [](const PyHttpServer& self) { return self.server().port(); })
      .def_property_readonly(
          "grpc_port", [](const PyHttpServer& self) { return self.server().grpc_port(); },
          "0: there is no gRPC.")
      .def_property_readonly("connections",
                             [](const PyHttpServer& self) { return self.server().connections(); })
      .def_property_readonly(
          "closed", [](const PyHttpServer& self) { return self.server().control().is_closed(); })
      .def("start", &PyHttpServer::start)
      .def(
          "set_model",
          [](PyHttpServer& self, std::string name, std::string version,
             const py::object& dispatcher, std::vector<ServedTensor> inputs,
             std::vector<ServedTensor> outputs, bool is_default, std::int64_t max_batch_size) {
            self.set_model({std::move(name), std::move(version)}, dispatcher, std::move(inputs),
                           std::move(outputs), is_default, max_batch_size);
          },
          py::arg("name"), py::arg("version"), py::arg("dispatcher"), py::arg("inputs"),
          py::arg("outputs"), py::arg("is_default"), py::arg("max_batch_size") = 0,
          "Answer the model's plain requests, by this dispatcher. is_default: also those that name "
          "no version. max_batch_size: of dimension 0; 0: no batches. Raises InputError where the "
          "tensors are not as they are on the wire: then requests are left to next().")
      .def(
          "remove_model",
          [](PyHttpServer& self, std::string name, std::string version) {
            self.remove_model({std::move(name), std::move(version)});
          },
          py::arg("name"), py::arg("version"),
          "Leave its requests to next(); those under way are answered.")
      .def(
          "model_counters",
          [](const PyHttpServer& self, std::string name, std::string version) {
            return self.counters({std::move(name), std::move(version)});
          },
          py::arg("name"), py::arg("version"),
          "Count the requests that were answered here since set_model(): success, success_ns, "
          "latency (by buckets, see latency_bounds_ns()), rows, rejected, canceled, backend, "
          "other, "
          "fail_ns, last_ms; zeros for other models.")
      .def("next", &PyHttpServer::next, py::arg("timeout") = py::none(),
           "Wait for a request so many seconds; None if there was none, or engine failures are to "
           "be taken, or the server is closed.")
      .def("take_engine_failures", &PyHttpServer::take_engine_failures,
           "(name, version, message) of models whose device has failed since the last call.")
      .def("close", &PyHttpServer::close, py::arg("grace"),
           "Accept no more connections, wait so many seconds for requests that have begun, and "
           "return whether all were answered.");
}

}  // namespace fasttrt::bindings
