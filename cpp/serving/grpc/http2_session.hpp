// A server's session of HTTP/2: frames in, frames out. nghttp2 does the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "serving/grpc/nghttp2_api.hpp"

namespace fasttrt::serving::grpc {

struct HeaderField {
  std::string_view name;
  std::string_view value;
};

// What a session tells, and asks for. std::bad_alloc ends the session.
class Http2Events {
 public:
  Http2Events() = default;
  Http2Events(const Http2Events&) = delete;
  Http2Events& operator=(const Http2Events&) = delete;

  // A request's headers, or what follows its body, in between on_begin and on_head.
  virtual void on_begin(std::int32_t stream) = 0;
  virtual void on_header(std::int32_t stream, const HeaderField& header) = 0;
  virtual void on_head(std::int32_t stream) = 0;
  // Its body. The bytes are to be consumed for more to come.
  virtual void on_data(std::int32_t stream, std::string_view bytes) = 0;
  virtual void on_end(std::int32_t stream) = 0;
  virtual void on_pong() = 0;
  virtual void on_close(std::int32_t stream) = 0;

  // What there is to send of an answer's body, up to `most` bytes. Nothing, and not is_last: the
  // session asks again after resume().
  struct Available {
    std::size_t bytes = 0;
    bool is_last = false;  // trailers follow, which are submitted
  };
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): a stream comes first
  virtual Available available(std::int32_t stream, std::size_t most) = 0;
  // To write a frame's head, and so many bytes of the body behind it; false: not now.
  virtual bool send(std::int32_t stream, std::string_view head, std::size_t bytes) = 0;

 protected:
  ~Http2Events() = default;
};

// Functions return false where the session has failed, and can only be closed.
class Http2Session {
 public:
  struct Limits {
    std::uint32_t max_streams = 1;
    std::uint32_t max_header_bytes = 0;
    std::int32_t stream_window = 65535;
    std::int32_t window = 65535;
  };

  // Throws std::bad_alloc, and what nghttp2() throws.
  Http2Session(Http2Events& events, const Limits& limits);

  [[nodiscard]] bool receive(std::string_view bytes);
  // Frames to write; empty where there are none now.
  [[nodiscard]] bool produce(std::string_view& bytes);
  // False: nothing follows, in either direction.
  [[nodiscard]] bool is_open() const noexcept;

  void consume(std::int32_t stream, std::size_t bytes);
  void consume_connection(std::size_t bytes);
  // has_body: available() tells what it is.
  void respond(std::int32_t stream, std::span<const HeaderField> headers, bool has_body);
  void add_trailers(std::int32_t stream, std::span<const HeaderField> trailers);
  void resume(std::int32_t stream);
  void reset(std::int32_t stream, std::uint32_t error);
  void ping();
  // No further streams begin.
  void go_away(std::uint32_t error, std::string_view reason);

 private:
  struct Delete {
    void operator()(nghttp2_session* session) const noexcept { nghttp2().session_del(session); }
  };

  void check(int result) noexcept { has_failed_ = has_failed_ || result < 0; }

  const Nghttp2Api& api_ = nghttp2();
  std::unique_ptr<nghttp2_session, Delete> session_;
  bool has_failed_ = false;
};

}  // namespace fasttrt::serving::grpc
