#include "serving/grpc/grpc_connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "serving/event_loop.hpp"

namespace fasttrt::serving::grpc {
namespace {

constexpr std::uint32_t max_streams = 1024;
constexpr std::int32_t stream_window = 4 << 20;
constexpr std::int32_t connection_window = 16 << 20;
// Waiting to be written; beyond, answers wait in their streams.
constexpr std::size_t max_output = std::size_t{1} << 20;
// In a row, before other clients have their turn.
constexpr int max_receives = 16;
constexpr auto pong_time = std::chrono::seconds(20);

Http2Session::Limits limits_of(const HttpOptions& options) {
  return {max_streams, static_cast<std::uint32_t>(options.max_header_bytes), stream_window,
          connection_window};
}

}  // namespace

GrpcConnection::GrpcConnection(EventLoop& loop, FileDescriptor socket, std::string peer)
    : loop_(loop),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      session_(*this, limits_of(loop.server().options)),
      active_at_(loop.now()) {
  memory_.budget = loop.server().budget;
  ++loop.server().connections;
}

void GrpcConnection::on_events(std::uint32_t events) {
  if (!socket_) return;
  active_at_ = loop_.now();
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return close();
  try {
    if ((events & EPOLLIN) != 0 && !receive()) return close();
    advance();
  } catch (const std::bad_alloc&) {
    close();
  }
}

// Returns false where the client has gone, or sends what is no HTTP/2.
bool GrpcConnection::receive() {
  for (int i = 0; i < max_receives; ++i) {
    const auto room = loop_.scratch();
    const auto count = ::recv(socket_.get(), room.data(), room.size(), 0);
    if (count == 0) return false;
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    const auto size = static_cast<std::size_t>(count);
    if (!is_lingering_ && !session_.receive({room.data(), size})) {
      advance();  // nghttp2 may have something to say about it
      return false;
    }
    if (size < room.size()) return true;
  }
  return true;
}

void GrpcConnection::advance() {
  if (!socket_ || is_lingering_) return;
  if (!write()) return close();
  if (!is_blocked_ && output_.size() == 0 && !session_.is_open()) {
    ::shutdown(socket_.get(), SHUT_WR);
    is_lingering_ = true;
    pinged_at_ = loop_.now();
  }
  const std::uint32_t wanted = EPOLLIN | (is_blocked_ ? EPOLLOUT : 0U);
  if (std::exchange(interest_, wanted) != wanted) loop_.change(socket_.get(), *this, wanted);
}

// Writes what there is; false where that cannot be done.
bool GrpcConnection::write() {
  for (;;) {
    std::string_view frames;
    while (output_.size() < max_output) {
      if (!session_.produce(frames)) return false;
      if (frames.empty()) break;
      output_.append(frames);
    }
    is_blocked_ = false;
    if (output_.size() == 0) return true;
    switch (output_.write(socket_.get())) {
      case OutputQueue::Result::written: break;
      case OutputQueue::Result::blocked: is_blocked_ = true; return true;
      case OutputQueue::Result::failed: return false;
    }
  }
}

void GrpcConnection::advance_or_close() noexcept {
  try {
    advance();
  } catch (const std::bad_alloc&) {
    close();
  }
}

void GrpcConnection::refuse(std::string_view reason) {
  session_.go_away(error_enhance_your_calm, reason);
  advance();
}

void GrpcConnection::drain() {
  if (!socket_) return;
  for (const auto& [id, stream] : streams_) stream->drain();
  session_.go_away(error_none, "the server is being closed");
  advance();
}

GrpcConnection::Clock::time_point GrpcConnection::deadline() const noexcept {
  const auto& options = loop_.server().options;
  if (is_lingering_) return pinged_at_ + linger_time;
  if (is_blocked_) return active_at_ + options.idle_timeout;
  if (streams_.empty()) {
    return active_at_ + (has_called_ ? options.idle_timeout : options.header_timeout);
  }
  auto time = is_pinged_ ? pinged_at_ + pong_time : active_at_ + options.idle_timeout;
  for (const auto& [id, stream] : streams_) time = std::min(time, stream->deadline());
  return time;
}

void GrpcConnection::on_deadline() {
  if (!socket_) return;
  const auto now = loop_.now();
  const auto& options = loop_.server().options;
  if (is_lingering_ || is_blocked_) return close();
  if (streams_.empty()) {
    session_.go_away(error_none, "the connection was idle");
  } else if (is_pinged_ && now >= pinged_at_ + pong_time) {
    return close();
  } else if (!is_pinged_ && now >= active_at_ + options.idle_timeout) {
    session_.ping();
    is_pinged_ = true;
    pinged_at_ = now;
  }
  for (const auto& [id, stream] : streams_) {
    if (stream->deadline() <= now) stream->on_deadline();
  }
  advance_or_close();
}

void GrpcConnection::close() noexcept {
  if (!socket_) return;
  streams_.clear();
  loop_.close(socket_);
  auto& server = loop_.server();
  {
    const std::lock_guard lock(server.mutex);
    --server.connections;
    if (server.is_draining) server.changed.notify_all();
  }
  loop_.discard(*this);
}

GrpcStream* GrpcConnection::find(std::int32_t stream) noexcept {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second.get();
}

void GrpcConnection::on_begin(std::int32_t stream) {
  has_called_ = true;
  auto& place = streams_[stream];
  if (place == nullptr) place = std::make_unique<GrpcStream>(*this, stream);
}

void GrpcConnection::on_header(std::int32_t stream, const HeaderField& header) {
  if (auto* const found = find(stream)) found->on_header(header.name, header.value);
}

void GrpcConnection::on_head(std::int32_t stream) {
  if (auto* const found = find(stream)) found->on_head();
}

void GrpcConnection::on_data(std::int32_t stream, std::string_view bytes) {
  session_.consume_connection(bytes.size());
  if (auto* const found = find(stream)) found->on_data(bytes);
}

void GrpcConnection::on_end(std::int32_t stream) {
  if (auto* const found = find(stream)) found->on_end();
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): a stream comes first
Http2Events::Available GrpcConnection::available(std::int32_t stream, std::size_t most) {
  auto* const found = find(stream);
  if (found == nullptr) return {};
  const auto pending = found->pending_bytes();
  if (pending > most || !found->is_finished()) return {std::min(most, pending), false};
  found->add_trailers();
  return {pending, true};
}

bool GrpcConnection::send(std::int32_t stream, std::string_view head, std::size_t bytes) {
  if (output_.size() >= max_output) return false;
  output_.append(head);
  if (auto* const found = find(stream)) found->move_to(output_, bytes);
  return true;
}

}  // namespace fasttrt::serving::grpc
