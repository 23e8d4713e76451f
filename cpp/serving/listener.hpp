// A port that clients connect to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serving/event_loop.hpp"
#include "serving/event_source.hpp"
#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {

// Listening sockets at all addresses of the host, at one port. No other process can share it, so
// a second server is told that the port is taken. Throws Error that names host and port and says
// why.
[[nodiscard]] std::vector<FileDescriptor> listen_at(const std::string& host, std::uint16_t port,
                                                    int backlog);
[[nodiscard]] std::uint16_t port_of(const FileDescriptor& socket);

// Accepts connections on one event loop, and gives each to the one that has fewest: a hash of the
// addresses, as the kernel would use, is unfair where there are few clients.
class Listener final : public EventSource {
 public:
  // Makes a client's connection, for the loop that is to serve it.
  using Welcome = std::unique_ptr<Connection> (*)(EventLoop& loop, FileDescriptor socket,
                                                  std::string peer);

  Listener(EventLoop& loop, FileDescriptor socket, std::vector<EventLoop*> loops, Welcome welcome);

  void on_events(std::uint32_t events) override;
  // The clients that have connected and were not accepted yet see the connection reset.
  void close() noexcept {
    if (socket_) loop_.close(socket_);
  }

 private:
  void pause();
  void hand_out(FileDescriptor socket, std::string peer);

  EventLoop& loop_;
  FileDescriptor socket_;
  const std::vector<EventLoop*> loops_;
  const Welcome welcome_;
};

}  // namespace fasttrt::serving
