#include "serving/grpc/protobuf_reader.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>

#include "serving/grpc/protobuf_writer.hpp"

namespace fasttrt::serving::grpc {
namespace {

using Type = ProtobufField::Type;

// How many fields a message has; -1: it is malformed.
int count_fields(std::string_view message) {
  ProtobufReader reader(message);
  ProtobufField field;
  int count = 0;
  while (reader.next(field)) ++count;
  return reader.failed() ? -1 : count;
}

TEST_CASE("Fields are read as they were written") {
  std::mt19937_64 random(std::random_device{}());
  for (int round = 0; round < 200; ++round) {
    const auto number = static_cast<std::uint32_t>(random() % ((1U << 29) - 1) + 1);
    const std::uint64_t value = random() >> random() % 64;
    std::string message;
    append_varint(message, std::uint64_t{number} << 3);
    append_varint(message, value);
    CHECK(varint_size(value) + varint_size(std::uint64_t{number} << 3) == message.size());
    const std::string text(random() % 300, 'x');
    const auto before = message.size();
    append_bytes(message, number, text);
    CHECK(message.size() - before == field_size(number, text.size()));
    ProtobufReader reader(message);
    ProtobufField field;
    REQUIRE(reader.next(field));
    CHECK(field.is(number, Type::varint));
    CHECK(field.value == value);
    REQUIRE(reader.next(field));
    CHECK(field.is(number, Type::bytes));
    CHECK(field.bytes == text);
    CHECK(!reader.next(field));
    CHECK(!reader.failed());
    for (std::size_t size = 1; size < message.size(); ++size) {  // cut off, all but between fields
      CHECK(count_fields(message.substr(0, size)) == (size == before ? 1 : -1));
    }
  }
}

TEST_CASE("Fixed fields are little-endian") {
  ProtobufReader reader(std::string_view("\x0d\x01\x02\x03\x04\x11\x08\0\0\0\0\0\0\x80", 14));
  ProtobufField field;
  REQUIRE(reader.next(field));
  CHECK(field.is(1, Type::fixed32));
  CHECK(field.value == 0x04030201);
  REQUIRE(reader.next(field));
  CHECK(field.is(2, Type::fixed64));
  CHECK(field.value == 0x8000000000000008);
}

TEST_CASE("Malformed messages are found") {
  CHECK(count_fields("") == 0);
  CHECK(count_fields(std::string_view("\0\0", 2)) == -1);     // number 0
  CHECK(count_fields("\x0b\x0c") == -1);                      // a group
  CHECK(count_fields("\x0e") == -1);                          // type 6
  CHECK(count_fields("\x08") == -1);                          // no value
  CHECK(count_fields("\x0a\x05xyz") == -1);                   // too short
  CHECK(count_fields("\x80\x80\x80\x80\x80\x01\x01") == -1);  // a number beyond 29 bits
  CHECK(count_fields("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") == 1);
  CHECK(count_fields("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02") == -1);  // beyond 64 bits
  CHECK(count_fields("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") == -1);
  CHECK(count_fields("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") == -1);  // a huge length
}

TEST_CASE("Packed varints are read one by one") {
  std::string packed;
  for (const std::uint64_t value : {0ULL, 127ULL, 128ULL, ~0ULL}) append_varint(packed, value);
  ProtobufReader reader(packed);
  std::uint64_t value = 1;
  for (const std::uint64_t expected : {0ULL, 127ULL, 128ULL, ~0ULL}) {
    REQUIRE(reader.next_packed(value));
    CHECK(value == expected);
  }
  CHECK(!reader.next_packed(value));
  CHECK(!reader.failed());
  ProtobufReader cut(std::string_view("\x01\x80"));
  CHECK(cut.next_packed(value));
  CHECK(!cut.next_packed(value));
  CHECK(cut.failed());
}

}  // namespace
}  // namespace fasttrt::serving::grpc
