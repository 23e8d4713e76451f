// Whatever a client of gRPC sends, in whatever pieces: the connection takes it or closes, and gives
// back what it took.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "serving/event_loop.hpp"
#include "serving/grpc/grpc_connection.hpp"
#include "serving/model_for_tests.hpp"

namespace {

using namespace fasttrt::serving;

// The preface of HTTP/2, and empty settings, which any client begins with.
constexpr std::string_view preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);

void require(bool condition) {
  if (!condition) std::abort();
}

HttpOptions options() {
  HttpOptions chosen;
  chosen.max_message_bytes = std::size_t{64} << 10;
  chosen.max_buffered_bytes = std::size_t{256} << 10;
  return chosen;
}

void send(int socket, std::string_view bytes) {
  require(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

void drop_output(int socket) {
  std::array<char, 4096> room{};
  while (::recv(socket, room.data(), room.size(), MSG_DONTWAIT) > 0) {
  }
}

// What connections share. Making it takes a hundred times as long as an execution, so it serves
// many.
struct Server {
  Server() { state.models.set(tested.served("m", "1"), true); }
  ~Server() {
    state.control.close();
    loop.stop();
    tested.dispatcher->close(false);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const TestModel tested;
  ServerState state{options()};
  EventLoop loop{state};  // which does not run: what it would do is done here
};

Server& server() {
  constexpr int most_executions = 200;  // answers that nobody takes gather in the loop
  static std::unique_ptr<Server> current;
  static int executions = 0;
  if (executions++ % most_executions == 0) {
    current.reset();
    current = std::make_unique<Server>();
  }
  return *current;
}

}  // namespace

// The first byte: how many of the others come at once.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  auto& shared = server();
  auto& state = shared.state;
  std::array<int, 2> ends{};
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
  const FileDescriptor client(ends[1]);
  {
    grpc::GrpcConnection connection(shared.loop, FileDescriptor(ends[0]), "client");
    send(client.get(), preface);
    const std::size_t step = data[0] == 0 ? size : data[0];
    for (std::size_t i = 1; i < size && state.connections == 1; i += step) {
      const auto count = std::min(step, size - i);
      send(client.get(), {reinterpret_cast<const char*>(data) + i, count});
      connection.on_events(EPOLLIN);
      drop_output(client.get());
    }
    connection.drain();
    connection.advance_or_close();
    connection.close();
  }
  require(state.connections == 0);
  return 0;
}
