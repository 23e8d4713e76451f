#include "serving/grpc/message_reader.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "serving/grpc/outgoing_message.hpp"

namespace fasttrt::serving::grpc {
namespace {

constexpr std::size_t most = 1000;

TEST_CASE("Messages are the same wherever the bytes are cut") {
  std::mt19937 random(std::random_device{}());
  const MessageMemory memory{std::make_shared<MemoryBudget>(std::size_t{1} << 20), nullptr, 3};
  for (int round = 0; round < 100; ++round) {
    std::vector<std::string> sent;
    std::string bytes;
    for (int i = 0; i < 5; ++i) {
      sent.emplace_back(random() % 3 == 0 ? 0 : random() % most, static_cast<char>('a' + i));
      bytes += framed(sent.back())->text;
    }
    MessageReader reader(most);
    std::vector<std::string> found;
    for (std::size_t begin = 0; begin < bytes.size();) {
      std::string_view piece(bytes);
      piece = piece.substr(begin, 1 + random() % 400);
      begin += piece.size();
      while (!piece.empty()) {
        const auto result = reader.read(piece, memory);
        REQUIRE(result != MessageReader::Result::refused);
        if (result != MessageReader::Result::complete) continue;
        const auto message = reader.take();
        CHECK(!message.is_compressed);
        found.emplace_back(message.body.bytes());
      }
    }
    CHECK(found == sent);
    CHECK(!reader.is_within());
  }
  CHECK(memory.budget->left() == std::size_t{1} << 20);
}

TEST_CASE("Messages that are too large, or malformed, are refused") {
  const MessageMemory memory{std::make_shared<MemoryBudget>(500), nullptr, 0};
  const auto code_of = [&](const std::string& bytes) {
    MessageReader reader(most);
    std::string_view rest(bytes);
    const auto result = reader.read(rest, memory);
    return result == MessageReader::Result::refused ? reader.error().code : 0;
  };
  CHECK(code_of(std::string("\0\0\0\3\xe9", 5)) == static_cast<int>(Code::resource_exhausted));
  CHECK(code_of(std::string("\0\0\0\3\xe8", 5)) == static_cast<int>(Code::resource_exhausted));
  CHECK(code_of(std::string("\0\0\0\1\x90", 5)) == 0);
  CHECK(code_of(std::string("\0\xff\xff\xff\xff", 5)) ==
        static_cast<int>(Code::resource_exhausted));
  CHECK(code_of(std::string("\2\0\0\0\1", 5)) == static_cast<int>(Code::internal));
  CHECK(code_of(std::string("\0\0", 2)) == 0);
  CHECK(memory.budget->left() == 500);
}

}  // namespace
}  // namespace fasttrt::serving::grpc
