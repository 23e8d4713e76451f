#include "serving/listener.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::serving {
namespace {

// Accepted in a row, before connections have their turn.
constexpr int max_accepted = 64;
// Connections beyond the limit that are told so; further ones are closed without a word.
constexpr int max_refused = 64;

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};

[[noreturn]] void fail(const std::string& host, std::uint16_t port, const std::string& reason) {
  throw Error("cannot listen at " + host + ":" + std::to_string(port) + ": " + reason);
}

std::string error_text(int number) {
  std::array<char, 128> text{};
  return strerror_r(number, text.data(), text.size());
}

std::unique_ptr<addrinfo, FreeAddresses> addresses_of(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (status != 0) fail(host, port, gai_strerror(status));
  return std::unique_ptr<addrinfo, FreeAddresses>(found);
}

void set_port(sockaddr* address, std::uint16_t port) noexcept {
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  }
}

std::string name_of(const sockaddr_storage& address, socklen_t size) {
  std::array<char, 64> host{};
  std::array<char, 16> port{};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(),
                  port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "";
  }
  std::string name(host.data());
  if (address.ss_family == AF_INET6) name.insert(0, 1, '[').push_back(']');
  return name.append(":").append(port.data());
}

}  // namespace

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in an address
std::vector<FileDescriptor> listen_at(const std::string& host, std::uint16_t port, int backlog) {
  const auto found = addresses_of(host, port);
  std::vector<FileDescriptor> sockets;
  auto chosen = port;
  for (auto* address = found.get(); address != nullptr; address = address->ai_next) {
    FileDescriptor socket(
        ::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket && errno == EAFNOSUPPORT && address->ai_next != nullptr) continue;
    if (!socket) fail(host, port, error_text(errno));
    const int yes = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (address->ai_family == AF_INET6) {
      setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    }
    set_port(address->ai_addr, chosen);
    if (bind(socket.get(), address->ai_addr, address->ai_addrlen) != 0) {
      // "localhost" has an IPv6 address also where that does not work.
      if (errno == EADDRNOTAVAIL && (!sockets.empty() || address->ai_next != nullptr)) continue;
      fail(host, port, error_text(errno));
    }
    if (listen(socket.get(), backlog) != 0) fail(host, port, error_text(errno));
    if (chosen == 0) chosen = port_of(socket);
    sockets.push_back(std::move(socket));
  }
  if (sockets.empty()) fail(host, port, "the host has no address");
  return sockets;
}

std::uint16_t port_of(const FileDescriptor& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return address.ss_family == AF_INET6
             ? ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port)
             : ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Listener::Listener(EventLoop& loop, FileDescriptor socket, std::vector<EventLoop*> loops,
                   Welcome welcome)
    : loop_(loop), socket_(std::move(socket)), loops_(std::move(loops)), welcome_(welcome) {
  loop_.watch(socket_.get(), *this, EPOLLIN);
}

void Listener::on_events(std::uint32_t /*events*/) {
  for (int i = 0; i < max_accepted && socket_; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    FileDescriptor socket(accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      const int yes = 1;
      setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
      hand_out(std::move(socket), name_of(address, size));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      return pause();
    }  // otherwise it is the connection that failed
  }
}

// Until descriptors may be free again; the socket would be ready all the while.
void Listener::pause() {
  loop_.change(socket_.get(), *this, 0);
  loop_.retry([this] {
    if (socket_) loop_.change(socket_.get(), *this, EPOLLIN);
    return true;
  });
}

void Listener::hand_out(FileDescriptor socket, std::string peer) {
  auto& server = loop_.server();
  const int most = server.options.max_connections;
  if (server.connections >= most + max_refused) return;
  const bool is_refused = server.connections >= most;
  auto* const chosen = *std::ranges::min_element(loops_, {}, &EventLoop::connections);
  const auto begin = [chosen, is_refused, welcome = welcome_](FileDescriptor from,
                                                              std::string name) {
    const int descriptor = from.get();
    chosen->adopt(descriptor, welcome(*chosen, std::move(from), std::move(name)), is_refused);
  };
  if (chosen == &loop_) return begin(std::move(socket), std::move(peer));
  const auto shared = std::make_shared<FileDescriptor>(std::move(socket));
  chosen->post([begin, shared, peer = std::move(peer)] { begin(std::move(*shared), peer); });
}

}  // namespace fasttrt::serving
