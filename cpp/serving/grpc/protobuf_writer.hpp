// Appends the fields of protobuf messages to a string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fasttrt::serving::grpc {

inline void append_varint(std::string& message, std::uint64_t value) {
  while (value >= 0x80) {
    message.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  message.push_back(static_cast<char>(value));
}

[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t value) noexcept {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// How a field of bytes begins; those follow.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the number comes first
inline void append_head(std::string& message, std::uint32_t number, std::uint64_t size) {
  append_varint(message, std::uint64_t{number} << 3 | 2);
  append_varint(message, size);
}

// The head's own size and that of the bytes.
[[nodiscard]] constexpr std::size_t field_size(std::uint32_t number, std::uint64_t size) noexcept {
  return varint_size(std::uint64_t{number} << 3) + varint_size(size) +
         static_cast<std::size_t>(size);
}

inline void append_bytes(std::string& message, std::uint32_t number, std::string_view bytes) {
  append_head(message, number, bytes.size());
  message.append(bytes);
}

}  // namespace fasttrt::serving::grpc
