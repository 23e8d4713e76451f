#include "serving/grpc/http2_session.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>
#include <vector>

namespace fasttrt::serving::grpc {
namespace {

// Of a DATA frame's body, so that streams have their turns.
constexpr std::int32_t max_frame_bytes = 256 << 10;
constexpr std::uint32_t max_received_frame = 1 << 20;

Http2Events& events_of(void* user_data) noexcept { return *static_cast<Http2Events*>(user_data); }

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(bytes), size};
}

// No exception may pass through a library of C.
template <class Function>
int guarded(const Function& function) noexcept {
  try {
    function();
    return 0;
  } catch (const std::exception&) {
    return err_callback_failure;
  }
}

int on_begin_headers(nghttp2_session* /*session*/, const FrameHeader* frame, void* user_data) {
  return guarded([&] { events_of(user_data).on_begin(frame->stream_id); });
}

int on_header(nghttp2_session* /*session*/, const FrameHeader* frame, const std::uint8_t* name,
              std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
              std::uint8_t /*flags*/, void* user_data) {
  return guarded([&] {
    events_of(user_data).on_header(frame->stream_id,
                                   {text_of(name, name_size), text_of(value, value_size)});
  });
}

int on_frame_recv(nghttp2_session* /*session*/, const FrameHeader* frame, void* user_data) {
  return guarded([&] {
    auto& events = events_of(user_data);
    if (frame->type == frame_ping && (frame->flags & flag_ack) != 0) return events.on_pong();
    if (frame->type != frame_headers && frame->type != frame_data) return;
    if (frame->type == frame_headers) events.on_head(frame->stream_id);
    if ((frame->flags & flag_end_stream) != 0) events.on_end(frame->stream_id);
  });
}

int on_data_chunk(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream,
                  const std::uint8_t* data, std::size_t size, void* user_data) {
  return guarded([&] { events_of(user_data).on_data(stream, text_of(data, size)); });
}

int on_stream_close(nghttp2_session* /*session*/, std::int32_t stream, std::uint32_t /*error*/,
                    void* user_data) {
  return guarded([&] { events_of(user_data).on_close(stream); });
}

ssize_t read_data(nghttp2_session* /*session*/, std::int32_t stream, std::uint8_t* /*buffer*/,
                  std::size_t length, std::uint32_t* flags, DataSource* /*source*/,
                  void* user_data) {
  Http2Events::Available found;
  if (guarded([&] { found = events_of(user_data).available(stream, length); }) != 0) {
    return err_callback_failure;
  }
  if (found.bytes == 0 && !found.is_last) return err_deferred;
  *flags |= data_flag_no_copy;
  if (found.is_last) *flags |= data_flag_eof | data_flag_no_end_stream;
  return static_cast<ssize_t>(found.bytes);
}

int send_data(nghttp2_session* /*session*/, FrameHeader* frame, const std::uint8_t* head,
              std::size_t length, DataSource* /*source*/, void* user_data) {
  constexpr std::size_t head_size = 9;
  bool is_sent = false;
  const int result = guarded([&] {
    is_sent = events_of(user_data).send(frame->stream_id, text_of(head, head_size), length);
  });
  if (result != 0) return result;
  return is_sent ? 0 : err_wouldblock;
}

// NOLINTBEGIN(bugprone-easily-swappable-parameters): as nghttp2 has it
ssize_t read_length(nghttp2_session* /*session*/, std::uint8_t /*type*/, std::int32_t /*stream*/,
                    std::int32_t session_window, std::int32_t stream_window,
                    std::uint32_t max_frame_size, void* /*user_data*/) {
  // NOLINTEND(bugprone-easily-swappable-parameters)
  const auto most = std::min({session_window, stream_window, max_frame_bytes});
  return std::min<ssize_t>(most, max_frame_size);
}

struct Callbacks {
  explicit Callbacks(const Nghttp2Api& table) : api(table) {
    if (api.callbacks_new(&callbacks) != 0) throw std::bad_alloc();
    api.set_on_begin_headers(callbacks, on_begin_headers);
    api.set_on_header(callbacks, on_header);
    api.set_on_frame_recv(callbacks, on_frame_recv);
    api.set_on_data_chunk_recv(callbacks, on_data_chunk);
    api.set_on_stream_close(callbacks, on_stream_close);
    api.set_send_data(callbacks, send_data);
    api.set_read_length(callbacks, read_length);
    if (api.option_new(&option) != 0) {
      api.callbacks_del(callbacks);
      throw std::bad_alloc();
    }
    api.option_no_auto_window_update(option, 1);
  }
  ~Callbacks() {
    api.option_del(option);
    api.callbacks_del(callbacks);
  }
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;

  const Nghttp2Api& api;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
};

std::vector<NameValue> to_native(std::span<const HeaderField> headers) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const std::uint8_t*>(text.data());
  };
  std::vector<NameValue> native;
  native.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    native.push_back({bytes(name), bytes(value), name.size(), value.size(), flag_none});
  }
  return native;
}

}  // namespace

Http2Session::Http2Session(Http2Events& events, const Limits& limits) {
  static const Callbacks shared(api_);  // a session copies them
  nghttp2_session* session = nullptr;
  if (api_.server_new(&session, shared.callbacks, &events, shared.option) != 0) {
    throw std::bad_alloc();
  }
  session_.reset(session);
  const std::array entries{
      SettingsEntry{settings_max_concurrent_streams, limits.max_streams},
      SettingsEntry{settings_initial_window_size, static_cast<std::uint32_t>(limits.stream_window)},
      SettingsEntry{settings_max_frame_size, max_received_frame},
      SettingsEntry{settings_max_header_list_size, limits.max_header_bytes}};
  check(api_.submit_settings(session, flag_none, entries.data(), entries.size()));
  check(api_.set_local_window_size(session, flag_none, 0, limits.window));
}

bool Http2Session::receive(std::string_view bytes) {
  const auto taken = api_.mem_recv(
      session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return !has_failed_ && std::cmp_equal(taken, bytes.size());
}

bool Http2Session::produce(std::string_view& bytes) {
  const std::uint8_t* begin = nullptr;
  const auto size = api_.mem_send(session_.get(), &begin);
  if (size < 0 || has_failed_) return false;
  bytes = text_of(begin, static_cast<std::size_t>(size));
  return true;
}

bool Http2Session::is_open() const noexcept {
  return api_.want_read(session_.get()) != 0 || api_.want_write(session_.get()) != 0;
}

void Http2Session::consume(std::int32_t stream, std::size_t bytes) {
  check(api_.consume_stream(session_.get(), stream, bytes));
}

void Http2Session::consume_connection(std::size_t bytes) {
  check(api_.consume_connection(session_.get(), bytes));
}

void Http2Session::respond(std::int32_t stream, std::span<const HeaderField> headers,
                           bool has_body) {
  const auto native = to_native(headers);
  const DataProvider provider{{.pointer = nullptr}, read_data};
  check(api_.submit_response(session_.get(), stream, native.data(), native.size(),
                             has_body ? &provider : nullptr));
}

void Http2Session::add_trailers(std::int32_t stream, std::span<const HeaderField> trailers) {
  const auto native = to_native(trailers);
  check(api_.submit_trailer(session_.get(), stream, native.data(), native.size()));
}

void Http2Session::resume(std::int32_t stream) {
  // An error: there is nothing to resume, as the window is what the stream waits for.
  (void)api_.resume_data(session_.get(), stream);
}

void Http2Session::reset(std::int32_t stream, std::uint32_t error) {
  check(api_.submit_rst_stream(session_.get(), flag_none, stream, error));
}

void Http2Session::ping() { check(api_.submit_ping(session_.get(), flag_none, nullptr)); }

void Http2Session::go_away(std::uint32_t error, std::string_view reason) {
  auto* const session = session_.get();
  check(api_.submit_goaway(session, flag_none, api_.last_stream_id(session), error,
                           reinterpret_cast<const std::uint8_t*>(reason.data()), reason.size()));
}

}  // namespace fasttrt::serving::grpc
