// The front end, HTTP and gRPC: answers plain infer requests, and passes all others on.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serving/control_queue.hpp"
#include "serving/event_loop.hpp"
#include "serving/http_options.hpp"
#include "serving/listener.hpp"
#include "serving/model_table.hpp"
#include "serving/server_state.hpp"

namespace fasttrt::serving {

// All functions may be called from any thread.
class HttpServer {
 public:
  using Clock = std::chrono::steady_clock;

  // Listens; clients wait until start(). Throws InputError for an option out of range, Error that
  // names host and port, and LibraryNotFoundError where there is to be gRPC without nghttp2.
  explicit HttpServer(HttpOptions given);
  // Closes it without waiting for clients.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::uint16_t grpc_port() const noexcept { return grpc_port_; }  // 0: none
  [[nodiscard]] ModelTable& models() noexcept { return state_.models; }
  [[nodiscard]] ControlQueue& control() noexcept { return state_.control; }
  [[nodiscard]] int connections() const noexcept { return state_.connections; }

  // Begins to serve. Throws Error once closed.
  void start();
  // Accepts no more connections, lets requests that have begun be answered, and ends after `grace`
  // at the latest. Returns whether all were.
  bool close(Clock::duration grace);

 private:
  std::uint16_t listen(std::uint16_t port, Listener::Welcome welcome);

  ServerState state_;
  std::uint16_t port_ = 0;
  std::uint16_t grpc_port_ = 0;
  std::mutex mutex_;
  bool is_started_ = false;
  bool is_closed_ = false;
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::vector<std::unique_ptr<Listener>> listeners_;  // on the first loop
};

}  // namespace fasttrt::serving
