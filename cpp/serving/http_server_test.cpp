#include "serving/http_server.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "common/error.hpp"
#include "serving/model_for_tests.hpp"

namespace fasttrt::serving {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

HttpOptions options(int threads) {
  HttpOptions chosen;
  chosen.port = 0;
  chosen.threads = threads;
  return chosen;
}

class Client {
 public:
  explicit Client(const HttpServer& server) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  void send(std::string_view bytes) const {
    REQUIRE(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  // The body of the next answer, which has a status.
  std::string answer(const std::string& status = "200 OK") {
    while (read_.find("\r\n\r\n") == std::string::npos) more();
    const auto head = read_.substr(0, read_.find("\r\n\r\n") + 4);
    REQUIRE(head.starts_with("HTTP/1.1 " + status + "\r\n"));
    const std::string name = "\r\nContent-Length: ";
    const auto size = std::stoul(head.substr(head.find(name) + name.size()));
    while (read_.size() < head.size() + size) more();
    auto body = read_.substr(head.size(), size);
    read_.erase(0, head.size() + size);
    return body;
  }
  [[nodiscard]] bool is_closed() const {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, 0) == 0;
  }

 private:
  void more() {
    std::array<char, 4096> bytes{};
    const auto count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    REQUIRE(count > 0);
    read_.append(bytes.data(), static_cast<std::size_t>(count));
  }

  FileDescriptor socket_;
  std::string read_;
};

std::string infer(std::string_view ids) {
  const std::string json =
      R"({"inputs":[{"name":"x","shape":[0,3],"datatype":"FP32","parameters":{"binary_data_size":0}},)"
      R"({"name":"id","shape":[)" +
      std::to_string(ids.size()) + R"(],"datatype":"UINT8","parameters":{"binary_data_size":)" +
      std::to_string(ids.size()) +
      R"(}}],"outputs":[{"name":"same","parameters":{"binary_data":true}}]})";
  return "POST /v2/models/m/infer HTTP/1.1\r\nHost: test\r\nInference-Header-Content-Length: " +
         std::to_string(json.size()) +
         "\r\nContent-Length: " + std::to_string(json.size() + ids.size()) + "\r\n\r\n" + json +
         std::string(ids);
}

constexpr std::string_view get = "GET /v2 HTTP/1.1\r\nHost: test\r\n\r\n";

TEST_CASE("Every client of many gets its own answers, in order") {
  const TestModel model;
  HttpServer server(options(3));
  server.models().set(model.served("m", "1"), true);
  server.start();
  std::vector<std::thread> clients;
  clients.reserve(6);
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&] {
      std::mt19937 random(std::random_device{}());
      Client client(server);
      for (int round = 0; round < 20; ++round) {
        std::vector<std::string> sent;
        std::string bytes;
        for (int k = 0; k < 1 + round % 7; ++k) {
          std::string ids(random() % 90, ' ');
          for (auto& id : ids) id = static_cast<char>('a' + random() % 26);
          bytes += infer(ids);
          sent.push_back(std::move(ids));
        }
        client.send(bytes);
        for (const auto& ids : sent) CHECK(client.answer().ends_with("}]}" + ids));
      }
    });
  }
  for (auto& client : clients) client.join();
  const auto served = server.models().find("m", "1");
  CHECK(served->counters().success == 6 * (7 * 8 / 2 * 2 + 21));
  CHECK(server.close(seconds(30)));
}

TEST_CASE("Requests for the control plane may be answered by any thread, in any order") {
  HttpServer server(options(1));
  server.start();
  Client client(server);
  client.send(get);
  client.send(get);
  const auto end = HttpServer::Clock::now() + seconds(30);
  const auto first = server.control().pop_until(end);
  auto second = server.control().pop_until(end);
  REQUIRE(first != nullptr);
  REQUIRE(second != nullptr);
  CHECK(first->method == "GET");
  CHECK(first->target == "/v2");
  CHECK(first->headers.size() == 1);
  second.reset();  // without an answer
  std::thread([&] {
    HttpResponse response;
    response.body = "first";
    first->respond(std::move(response));
  }).join();
  CHECK(client.answer() == "first");
  CHECK(client.answer("500 Internal Server Error").starts_with("{\"error\""));
  CHECK_THROWS_AS(first->respond({}), Error);
}

TEST_CASE("More requests for the control plane than may wait are refused") {
  auto few = options(1);
  few.max_control_requests = 1;
  HttpServer server(few);
  server.start();
  const Client first(server);
  first.send(get);
  while (server.connections() == 0) std::this_thread::yield();
  const Client second(server);
  second.send(get);
  const auto end = HttpServer::Clock::now() + seconds(30);
  const auto request = server.control().pop_until(end);
  REQUIRE(request != nullptr);  // of either
  server.close(milliseconds(1));
}

TEST_CASE("A server that is closed has answered, or dropped, all requests") {
  const TestModel model;
  for (int round = 0; round < 20; ++round) {
    HttpServer server(options(2));
    server.models().set(model.served("m", "1"), true);
    server.start();
    std::vector<Client> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back(server).send(infer("abc"));
      clients.back().send(get);
    }
    server.close(milliseconds(round % 3));
    CHECK(server.connections() == 0);
    CHECK_THROWS_AS(server.start(), Error);
  }
}

TEST_CASE("Connections end although a process that was forked has copies of them") {
  const TestModel model;
  auto chosen = options(1);
  chosen.idle_timeout = milliseconds(300);
  HttpServer server(chosen);
  server.models().set(model.served("m", "1"), true);
  server.start();
  Client idle(server);
  idle.send(infer("abc"));
  CHECK(idle.answer().ends_with("abc"));
  const auto child = ::fork();
  if (child == 0) {
    while (true) ::pause();  // nothing else may be called here
  }
  REQUIRE(child > 0);
  CHECK(idle.is_closed());
  Client other(server);
  for (const auto* ids : {"d", "ef"}) {
    other.send(infer(ids));
    CHECK(other.answer().ends_with(ids));
  }
  CHECK(server.close(seconds(30)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_CASE("A server that was never started ends, too") {
  HttpServer server(options(2));
  const Client client(server);
  CHECK(server.close(seconds(30)));
}

TEST_CASE("Failures of engines are told to whoever waits for requests") {
  ControlQueue queue(1);
  queue.report({"m", "1", "lost"});
  CHECK(queue.pop_until(ControlQueue::Clock::now() + seconds(30)) == nullptr);
  const auto failures = queue.take_failures();
  REQUIRE(failures.size() == 1);
  CHECK(failures[0].message == "lost");
  CHECK(queue.take_failures().empty());
}

}  // namespace
}  // namespace fasttrt::serving
