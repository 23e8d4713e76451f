// What the logs are to say of a request, gathered on its way.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "engine/request.hpp"
#include "serving/access_log.hpp"
#include "serving/http_parser.hpp"
#include "serving/tracer.hpp"

namespace fasttrt::serving {

// Those that want a request; null: not this one.
struct RequestLogs {
  AccessLog* access = nullptr;
  Tracer* tracer = nullptr;
};

// Used by the event loop's thread.
class ExchangeRecord {
 public:
  using Clock = std::chrono::steady_clock;

  // Of a request that is here. begun_at: when its first byte came. bytes: of all of it.
  ExchangeRecord(RequestLogs logs, const RequestHead& head, std::string_view client,
                 Clock::time_point begun_at, std::size_t bytes);

  // Whom the request is to, and the client's id of it.
  void set_subject(std::string_view model, std::string_view version, std::string_view id);
  // The dispatcher has its arrays.
  void set_submitted() noexcept;
  void set_run(const engine::Request& request) noexcept { run_ = request.times(); }
  void set_answer(int status, std::size_t bytes) noexcept;
  // All of the answer is with the system, which brings it to the client.
  void finish() const noexcept { write(status_, bytes_out_); }
  // The client has gone before that.
  void abandon() const noexcept;

 private:
  void write(int status, std::size_t bytes_out) const noexcept;
  void trace(int status, Clock::time_point now) const noexcept;

  const RequestLogs logs_;
  const Clock::time_point begun_at_;
  const Clock::time_point received_at_;
  const std::string client_;
  const std::string method_;
  const std::string path_;
  const std::size_t bytes_in_;
  std::string model_;
  std::string version_;
  std::string id_;
  Clock::time_point submitted_at_;
  engine::Request::Times run_;  // not set where the control plane answers
  Clock::time_point answered_at_;
  int status_ = 0;
  std::size_t bytes_out_ = 0;
};

}  // namespace fasttrt::serving
