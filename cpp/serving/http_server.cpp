#include "serving/http_server.hpp"

#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "serving/grpc/grpc_connection.hpp"
#include "serving/grpc/nghttp2_api.hpp"
#include "serving/http_connection.hpp"

namespace fasttrt::serving {
namespace {

constexpr std::size_t min_header_bytes = 256;

void check_positive(const char* option, std::int64_t value) {
  if (value > 0) return;
  throw InputError(std::string(option) + ": expected at least 1, got " + std::to_string(value));
}

HttpOptions checked(HttpOptions options) {
  check_positive("threads", options.threads);
  check_positive("backlog", options.backlog);
  check_positive("max_connections", options.max_connections);
  check_positive("idle_timeout in milliseconds", options.idle_timeout.count());
  check_positive("header_timeout in milliseconds", options.header_timeout.count());
  check_positive("body_timeout in milliseconds", options.body_timeout.count());
  if (options.max_header_bytes < min_header_bytes) {
    throw InputError("max_header_bytes: expected at least 256, got " +
                     std::to_string(options.max_header_bytes));
  }
  return options;
}

template <class Client>
std::unique_ptr<Connection> welcome(EventLoop& loop, FileDescriptor socket, std::string peer) {
  return std::make_unique<Client>(loop, std::move(socket), std::move(peer));
}

}  // namespace

HttpServer::HttpServer(HttpOptions given) : state_(checked(std::move(given))) {
  const auto& options = state_.options;
  if (options.grpc_port) std::ignore = grpc::nghttp2();
  for (int i = 0; i < options.threads; ++i) loops_.push_back(std::make_unique<EventLoop>(state_));
  port_ = listen(options.port, welcome<HttpConnection>);
  if (options.grpc_port) grpc_port_ = listen(*options.grpc_port, welcome<grpc::GrpcConnection>);
}

std::uint16_t HttpServer::listen(std::uint16_t port, Listener::Welcome welcome) {
  std::vector<EventLoop*> all;
  all.reserve(loops_.size());
  for (const auto& loop : loops_) all.push_back(loop.get());
  auto sockets = listen_at(state_.options.host, port, state_.options.backlog);
  const auto chosen = port_of(sockets.front());
  for (auto& socket : sockets) {
    listeners_.push_back(std::make_unique<Listener>(*all.front(), std::move(socket), all, welcome));
  }
  return chosen;
}

HttpServer::~HttpServer() { close(Clock::duration::zero()); }

void HttpServer::start() {
  const std::lock_guard lock(mutex_);
  if (is_closed_) throw Error("the server is closed");
  if (std::exchange(is_started_, true)) return;
  for (const auto& loop : loops_) loop->start();
}

bool HttpServer::close(Clock::duration grace) {
  const std::lock_guard closing(mutex_);
  if (std::exchange(is_closed_, true)) return true;
  state_.is_draining = true;
  loops_.front()->post([this] {
    for (const auto& listener : listeners_) listener->close();
    // Behind the connections that they were given.
    for (const auto& loop : loops_) loop->post([&loop = *loop] { loop.drain(); });
  });
  bool all_ended = true;
  if (is_started_) {
    std::unique_lock lock(state_.mutex);
    all_ended = state_.changed.wait_for(lock, grace, [&] {
      return state_.draining_loops == loops_.size() && state_.connections == 0;
    });
  }
  state_.control.close();
  for (const auto& loop : loops_) loop->stop();
  listeners_.clear();
  return all_ended;
}

}  // namespace fasttrt::serving
