#include "serving/grpc/output_queue.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "serving/file_descriptor.hpp"

namespace fasttrt::serving::grpc {
namespace {

TEST_CASE("What is queued is written in order, also to a socket that takes little at a time") {
  std::mt19937 random(std::random_device{}());
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
  const FileDescriptor writer(ends[0]);
  const FileDescriptor reader(ends[1]);
  OutputQueue queue;
  std::string expected;
  std::vector<std::weak_ptr<const void>> keepers;
  for (int i = 0; i < 300; ++i) {
    auto text = std::make_shared<std::string>(random() % 20'000, static_cast<char>(random()));
    expected += *text;
    if (random() % 2 == 0) {
      queue.append(*text);
    } else {
      keepers.emplace_back(text);
      queue.append(*text, text);
    }
  }
  CHECK(queue.size() == expected.size());
  std::string found;
  std::vector<char> room(50'000);
  while (found.size() < expected.size()) {
    REQUIRE(queue.write(writer.get()) != OutputQueue::Result::failed);
    const auto count = ::recv(reader.get(), room.data(), 1 + random() % room.size(), 0);
    REQUIRE(count > 0);
    found.append(room.data(), static_cast<std::size_t>(count));
  }
  CHECK(found == expected);
  CHECK(queue.size() == 0);
  for (const auto& keeper : keepers) CHECK(keeper.expired());
  ::shutdown(reader.get(), SHUT_RD);
  queue.append("x");
  CHECK(queue.write(writer.get()) == OutputQueue::Result::failed);
}

}  // namespace
}  // namespace fasttrt::serving::grpc
