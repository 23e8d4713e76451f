#include "serving/http_connection.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <new>
#include <tuple>
#include <utility>

#include "serving/event_loop.hpp"

namespace fasttrt::serving {
namespace {

// Requests of one client that are worked on at once.
constexpr std::size_t max_pipelined = 32;
// A client that has closed its side has mostly gone, but may be waiting: its requests are not
// cancelled while answers come soon.
constexpr auto half_closed_time = std::chrono::seconds(1);

HeadLimits head_limits(const HttpOptions& options) {
  HeadLimits limits;
  limits.max_bytes = options.max_header_bytes;
  return limits;
}

}  // namespace

HttpConnection::HttpConnection(EventLoop& loop, FileDescriptor socket, std::string peer)
    : loop_(loop),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      parser_(head_limits(loop.server().options)),
      begun_at_(loop.now()),
      first_byte_at_(loop.now()),
      active_at_(loop.now()) {
  ++loop_.server().connections;
}

void HttpConnection::on_events(std::uint32_t events) {
  if (!socket_) return;
  active_at_ = loop_.now();
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return close();
  try {
    if ((events & EPOLLIN) != 0) receive();
    advance();
  } catch (const std::bad_alloc&) {
    close();
  }
}

void HttpConnection::advance_or_close() noexcept {
  try {
    advance();
  } catch (const std::bad_alloc&) {
    close();
  }
}

bool HttpConnection::is_paused() const noexcept { return responses_.size() >= max_pipelined; }

bool HttpConnection::has_partial_request() const noexcept {
  return phase_ == Phase::body || (phase_ == Phase::head && has_begun_);
}

void HttpConnection::advance() {
  if (!socket_) return;
  for (;;) {
    take_requests();
    const bool was_paused = is_paused();
    const auto result = responses_.write(socket_.get());
    if (result == ResponseQueue::Result::failed) return close();
    is_blocked_ = result == ResponseQueue::Result::blocked;
    if (!was_paused || is_paused()) break;
  }
  if (responses_.empty() && phase_ == Phase::ended) finish_writing();
  if (socket_) update_interest();
}

void HttpConnection::finish_writing() {
  if (has_ended_) return close();
  ::shutdown(socket_.get(), SHUT_WR);
  phase_ = Phase::lingering;
  begun_at_ = loop_.now();
}

void HttpConnection::update_interest() noexcept {
  const bool reads = phase_ == Phase::lingering || phase_ == Phase::body ||
                     (phase_ == Phase::head && !is_paused());
  const std::uint32_t wanted = (reads ? EPOLLIN : 0U) | (is_blocked_ ? EPOLLOUT : 0U);
  if (std::exchange(interest_, wanted) != wanted) loop_.change(socket_.get(), *this, wanted);
}

void HttpConnection::answer(Exchange& exchange, HttpResponse response) {
  exchange.infer.reset();
  const auto status = response.status;
  exchange.answer = to_wire(std::move(response), exchange.persistence, exchange.is_head_request);
  if (exchange.record) exchange.record->set_answer(status, exchange.answer->size());
}

void HttpConnection::record(Exchange& exchange, std::size_t bytes) const {
  const auto& options = loop_.server().options;
  RequestLogs logs{options.access_log.get(), nullptr};
  if (options.tracer != nullptr) {
    const auto target = read_infer_target(parser_.head().target);
    if (target && options.tracer->sampling().wants(target->name))
      logs.tracer = options.tracer.get();
  }
  if (logs.access == nullptr && logs.tracer == nullptr) return;
  exchange.record =
      std::make_unique<ExchangeRecord>(logs, parser_.head(), peer_, first_byte_at_, bytes);
}

void HttpConnection::refuse(const HttpError& error) {
  refuse_at_once(error);
  advance();
}

void HttpConnection::refuse_at_once(const HttpError& error) {
  auto exchange = std::make_shared<Exchange>();
  exchange->client = this;
  exchange->persistence = Persistence::close;
  exchange->is_head_request = parser_.head().method == "HEAD";
  record(*exchange, parser_.size() + body_.size());
  auto response = error_response(error.status, error.reason);
  if (error.status == 503) response.headers += "Retry-After: 1\r\n";
  answer(*exchange, std::move(response));
  responses_.push(std::move(exchange));
  phase_ = Phase::ended;
  body_ = {};
  model_.reset();
}

void HttpConnection::drain() {
  if (!socket_ || has_partial_request() || phase_ == Phase::lingering) return;
  phase_ = Phase::ended;
  if (responses_.empty()) return close();
  auto& last = *responses_.exchanges().back();
  if (!last.answer) last.persistence = Persistence::close;
}

HttpConnection::Clock::time_point HttpConnection::deadline() const noexcept {
  const auto& options = loop_.server().options;
  if (phase_ == Phase::lingering) return begun_at_ + linger_time;
  if (is_blocked_) return active_at_ + options.idle_timeout;
  if (phase_ == Phase::body) return begun_at_ + options.body_timeout;
  if (phase_ == Phase::head && !is_paused()) {
    if (has_begun_) return begun_at_ + options.header_timeout;
    if (responses_.empty()) return active_at_ + options.idle_timeout;
  }
  if (has_ended_) return begun_at_ + half_closed_time;
  return Clock::time_point::max();
}

void HttpConnection::on_deadline() {
  if (!socket_) return;
  if (phase_ == Phase::lingering || is_blocked_) return close();
  if (has_ended_) return cancel_waiting();
  if (!has_partial_request()) return close();
  const bool is_head = phase_ == Phase::head;
  refuse({408, is_head ? "the headers did not come in time" : "the body did not come in time"});
}

// They come back as cancelled where they have not begun.
void HttpConnection::cancel_waiting() noexcept {
  begun_at_ = Clock::time_point::max() - half_closed_time;  // once
  for (const auto& exchange : responses_.exchanges()) {
    const auto request = exchange->infer;
    if (request) std::ignore = request->model().dispatcher().cancel(*request);
  }
}

void HttpConnection::close() noexcept {
  if (!socket_) return;
  for (const auto& exchange : responses_.exchanges()) {
    exchange->client = nullptr;
    if (exchange->record) exchange->record->abandon();
    const auto request = std::exchange(exchange->infer, {});
    if (!request) continue;
    request->waiter = nullptr;
    std::ignore = request->model().dispatcher().cancel(*request);
  }
  responses_.clear();
  body_ = {};
  loop_.close(socket_);
  auto& server = loop_.server();
  {
    const std::lock_guard lock(server.mutex);
    --server.connections;
    if (server.is_draining) server.changed.notify_all();
  }
  loop_.discard(*this);
}

}  // namespace fasttrt::serving
