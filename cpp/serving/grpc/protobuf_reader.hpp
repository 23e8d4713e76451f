// Reads the fields of a protobuf message, one after the other, without copying.
#pragma once

#include <cstdint>
#include <string_view>

namespace fasttrt::serving::grpc {

struct ProtobufField {
  // Groups, which have gone out of use, are refused.
  enum class Type : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  std::uint32_t number = 0;
  Type type = Type::varint;
  std::uint64_t value = 0;  // of a varint, and of what is fixed
  std::string_view bytes;   // of bytes: a view of the message

  [[nodiscard]] bool is(std::uint32_t wanted, Type kind) const noexcept {
    return number == wanted && type == kind;
  }
};

class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view message) noexcept : rest_(message) {}

  // Returns false at the end of the message, and where it is malformed.
  [[nodiscard]] bool next(ProtobufField& field) noexcept;
  // The next of a packed list of varints; false as next().
  [[nodiscard]] bool next_packed(std::uint64_t& value) noexcept;
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  [[nodiscard]] bool read_varint(std::uint64_t& value) noexcept;
  [[nodiscard]] bool read_fixed(std::size_t size, std::uint64_t& value) noexcept;
  bool fail() noexcept;

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace fasttrt::serving::grpc
