// What the access log is to say of a request, gathered on its way.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "serving/access_log.hpp"
#include "serving/http_parser.hpp"

namespace fasttrt::serving {

// Used by the event loop's thread.
class ExchangeRecord {
 public:
  using Clock = std::chrono::steady_clock;

  // begun_at: when the first byte of the request came. bytes: of all of it.
  ExchangeRecord(AccessLog& log, const RequestHead& head, std::string_view client,
                 Clock::time_point begun_at, std::size_t bytes);

  // Whom the request is to, and the client's id of it.
  void set_subject(std::string_view model, std::string_view version, std::string_view id);
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): small, and large
  void set_answer(int status, std::size_t bytes) noexcept {
    status_ = status;
    bytes_out_ = bytes;
  }
  // All of the answer is with the system, which brings it to the client.
  void finish() const noexcept { write(status_, bytes_out_); }
  // The client has gone before that.
  void abandon() const noexcept;

 private:
  void write(int status, std::size_t bytes_out) const noexcept;

  AccessLog& log_;
  const Clock::time_point begun_at_;
  const std::string client_;
  const std::string method_;
  const std::string path_;
  const std::size_t bytes_in_;
  std::string model_;
  std::string version_;
  std::string id_;
  int status_ = 0;
  std::size_t bytes_out_ = 0;
};

}  // namespace fasttrt::serving
