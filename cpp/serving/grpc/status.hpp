// How calls end, in gRPC's terms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fasttrt::serving::grpc {

enum class Code : std::uint8_t {
  ok = 0,
  invalid_argument = 3,
  deadline_exceeded = 4,
  resource_exhausted = 8,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
};

struct Status {
  int code = 0;
  std::string text;

  Status() = default;
  Status(int number, std::string reason) : code(number), text(std::move(reason)) {}
  Status(Code known, std::string reason) : code(static_cast<int>(known)), text(std::move(reason)) {}
};

// As grpc-message has it: all but printable ASCII as %XX; what is longer than clients take in a
// header ends early.
[[nodiscard]] std::string percent_encoded(std::string_view text);

}  // namespace fasttrt::serving::grpc
