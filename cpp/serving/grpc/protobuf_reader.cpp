#include "serving/grpc/protobuf_reader.hpp"

#include <cstddef>

namespace fasttrt::serving::grpc {
namespace {

constexpr std::uint64_t max_number = (std::uint64_t{1} << 29) - 1;
constexpr std::size_t max_varint_bytes = 10;

}  // namespace

bool ProtobufReader::fail() noexcept {
  failed_ = true;
  rest_ = {};
  return false;
}

bool ProtobufReader::read_varint(std::uint64_t& value) noexcept {
  value = 0;
  for (std::size_t i = 0; i < rest_.size() && i < max_varint_bytes; ++i) {
    const auto byte = static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i]));
    if (i + 1 == max_varint_bytes && byte > 1) return false;  // beyond 64 bits
    value |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    rest_.remove_prefix(i + 1);
    return true;
  }
  return false;
}

bool ProtobufReader::read_fixed(std::size_t size, std::uint64_t& value) noexcept {
  if (rest_.size() < size) return false;
  value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
  }
  rest_.remove_prefix(size);
  return true;
}

bool ProtobufReader::next(ProtobufField& field) noexcept {
  if (rest_.empty()) return false;
  std::uint64_t tag = 0;
  if (!read_varint(tag) || tag >> 3 == 0 || tag >> 3 > max_number) return fail();
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.type = static_cast<ProtobufField::Type>(tag & 7);
  field.bytes = {};
  switch (field.type) {
    case ProtobufField::Type::varint: return read_varint(field.value) || fail();
    case ProtobufField::Type::fixed64: return read_fixed(8, field.value) || fail();
    case ProtobufField::Type::fixed32: return read_fixed(4, field.value) || fail();
    case ProtobufField::Type::bytes: break;
    default: return fail();
  }
  if (!read_varint(field.value) || field.value > rest_.size()) return fail();
  field.bytes = rest_.substr(0, static_cast<std::size_t>(field.value));
  rest_.remove_prefix(field.bytes.size());
  return true;
}

bool ProtobufReader::next_packed(std::uint64_t& value) noexcept {
  if (rest_.empty()) return false;
  return read_varint(value) || fail();
}

}  // namespace fasttrt::serving::grpc
