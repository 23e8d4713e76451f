// One client of HTTP/1.1: its requests in, their answers out, in order.
#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "serving/chunked_decoder.hpp"
#include "serving/connection.hpp"
#include "serving/exchange.hpp"
#include "serving/file_descriptor.hpp"
#include "serving/http_parser.hpp"
#include "serving/input_buffer.hpp"
#include "serving/model_table.hpp"
#include "serving/request_body.hpp"
#include "serving/response_queue.hpp"

namespace fasttrt::serving {

class EventLoop;

// Used by its event loop's thread. A client that sends requests without reading their answers is
// not read from; one that has closed its side still gets its answers, if they come soon.
class HttpConnection final : public Connection {
 public:
  // The loop watches the socket for input, and destroys the connection once it is closed.
  HttpConnection(EventLoop& loop, FileDescriptor socket, std::string peer);
  ~HttpConnection() override { close(); }

  void on_events(std::uint32_t events) override;
  [[nodiscard]] Clock::time_point deadline() const noexcept override;
  void on_deadline() override;

  // The answer of an exchange, which advance() writes.
  static void answer(Exchange& exchange, HttpResponse response);
  // Does what can be done now: takes requests that are here, and writes answers.
  void advance();
  void advance_or_close() noexcept override;
  // Answers with an error, reads no more requests, and closes.
  void refuse(const HttpError& error);
  void refuse(std::string_view reason) override { refuse({503, reason}); }
  void drain() override;
  void close() noexcept override;

 private:
  // ended: no more requests are read. lingering: all answers are written, and what the client is
  // still sending is dropped, so that it reads the last answer before it sees a broken connection.
  enum class Phase : std::uint8_t { head, body, ended, lingering };

  // http_connection_input.cpp
  void receive();
  void receive_body();
  void on_end_of_input();
  void take_requests();
  [[nodiscard]] bool take_head();
  [[nodiscard]] bool begin_body();
  void find_plain_model();
  [[nodiscard]] bool take_buffered_body();
  [[nodiscard]] std::optional<std::size_t> decode(std::string_view bytes);
  [[nodiscard]] bool append_to_body(std::string_view piece);

  // http_connection_request.cpp
  void complete_request();
  [[nodiscard]] bool submit(const ExchangePtr& exchange);
  void hand_over(const ExchangePtr& exchange);

  // http_connection.cpp
  void record(Exchange& exchange, std::size_t bytes) const;
  void refuse_at_once(const HttpError& error);
  void finish_writing();
  void cancel_waiting() noexcept;
  void update_interest() noexcept;
  [[nodiscard]] bool is_paused() const noexcept;
  [[nodiscard]] bool has_partial_request() const noexcept;
  [[nodiscard]] bool is_chunked() const noexcept { return parser_.head().is_chunked; }

  EventLoop& loop_;
  FileDescriptor socket_;
  const std::string peer_;
  Phase phase_ = Phase::head;
  std::uint32_t interest_ = EPOLLIN;
  bool is_blocked_ = false;  // the socket takes no more at the moment
  bool has_ended_ = false;   // the client sends no more

  InputBuffer input_;
  HttpParser parser_;
  bool has_begun_ = false;      // a request, since:
  Clock::time_point begun_at_;  // its first byte, or its body
  Clock::time_point first_byte_at_;
  Clock::time_point active_at_;

  // Of the request whose body is read. The buffer begins with its head until it is complete.
  RequestBody body_;
  ChunkedDecoder chunks_;       // where the body is chunked
  std::size_t buffered_ = 0;    // bytes behind the head that are dealt with
  ServedModelPtr model_;        // null: not a plain infer request
  std::size_t json_bytes_ = 0;  // 0: all of it

  ResponseQueue responses_;
};

}  // namespace fasttrt::serving
