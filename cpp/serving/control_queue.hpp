// Requests that the control plane answers, in threads of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serving/http_response.hpp"
#include "serving/request_body.hpp"

namespace fasttrt::serving {

// A whole request. Destroyed without an answer, it is answered with 500.
class ControlRequest {
 public:
  // Brings the answer to the client, from any thread.
  using Respond = std::function<void(HttpResponse)>;

  ControlRequest() = default;
  ~ControlRequest();
  ControlRequest(const ControlRequest&) = delete;
  ControlRequest& operator=(const ControlRequest&) = delete;

  bool is_grpc = false;  // a message; the response's status is gRPC's then
  std::string method;
  std::string target;  // of gRPC, the method's path
  std::vector<std::pair<std::string, std::string>> headers;
  RequestBody body;
  std::string peer;  // the client's address and port
  Respond on_response;

  // Throws Error the second time.
  void respond(HttpResponse response);

 private:
  std::mutex responding_;
};

// That an engine can do no more, as its device has failed.
struct EngineFailure {
  std::string model;
  std::string version;
  std::string message;
};

class ControlQueue {
 public:
  using Clock = std::chrono::steady_clock;
  using RequestPtr = std::unique_ptr<ControlRequest>;

  explicit ControlQueue(std::size_t max_waiting) noexcept : max_waiting_(max_waiting) {}

  // Returns false, and the request stays, where too many wait or the queue is closed.
  [[nodiscard]] bool push(RequestPtr& request);
  // Something to be looked after, which ends one wait.
  void report(EngineFailure failure);
  // What was reported since the last call.
  [[nodiscard]] std::vector<EngineFailure> take_failures();
  // Waits until there is one, or the time has come, or a failure was reported: null then, and at
  // once when it is closed.
  [[nodiscard]] RequestPtr pop_until(Clock::time_point time);
  // Drops what waits, and what will come.
  void close();
  [[nodiscard]] bool is_closed() const;

 private:
  const std::size_t max_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RequestPtr> waiting_;
  std::vector<EngineFailure> failures_;
  bool has_news_ = false;  // a failure for whoever waits
  bool is_closed_ = false;
};

}  // namespace fasttrt::serving
