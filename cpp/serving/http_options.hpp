// What a server is started with: where it listens, and the limits of what it takes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fasttrt::serving {

class AccessLog;
class SharedMemoryTable;
class Tracer;

struct HttpOptions {
  using Duration = std::chrono::milliseconds;

  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;               // 0: one that is free
  std::optional<std::uint16_t> grpc_port;  // none: no gRPC
  int threads = 2;
  int backlog = 1024;
  int max_connections = 1024;  // further ones are refused with 503
  std::size_t max_header_bytes = std::size_t{16} << 10;
  std::size_t max_body_bytes = std::size_t{64} << 20;
  std::size_t max_message_bytes = std::size_t{64} << 20;  // of gRPC
  // Of all bodies together that are being received or worked on; beyond, requests get 503.
  std::size_t max_buffered_bytes = std::size_t{1} << 30;
  // Requests that may wait for the control plane; beyond, they get 503.
  std::size_t max_control_requests = 1024;

  // What clients have registered; null: they may use none.
  std::shared_ptr<SharedMemoryTable> shared_memory;

  // What is told of each request, and of some; null: nothing.
  std::shared_ptr<AccessLog> access_log;
  std::shared_ptr<Tracer> tracer;

  // Requests without one of these, if there are any, are left to the control plane.
  std::vector<std::string> api_keys;

  Duration idle_timeout{60'000};    // between requests, and for a client to read on
  Duration header_timeout{10'000};  // from a request's first byte to the end of its headers
  Duration body_timeout{60'000};    // from there to the end of its body
};

}  // namespace fasttrt::serving
