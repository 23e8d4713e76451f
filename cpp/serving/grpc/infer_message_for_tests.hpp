// Writes ModelInferRequests, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serving/grpc/protobuf_writer.hpp"

namespace fasttrt::serving::grpc {

inline std::string field_of(std::uint32_t number, std::string_view bytes) {
  std::string field;
  append_bytes(field, number, bytes);
  return field;
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the number comes first
inline std::string number_of(std::uint32_t number, std::uint64_t value) {
  std::string field;
  append_varint(field, std::uint64_t{number} << 3);
  append_varint(field, value);
  return field;
}

// An InferInputTensor.
inline std::string input_of(std::string_view name, std::string_view datatype,
                            const std::vector<std::uint64_t>& shape) {
  std::string packed;
  for (const auto size : shape) append_varint(packed, size);
  return field_of(5, field_of(1, name) + field_of(2, datatype) + field_of(3, packed));
}

// An entry of the request's parameters, of an integer.
inline std::string parameter_of(std::string_view name, std::uint64_t value,
                                std::uint32_t choice = 2) {
  return field_of(4, field_of(1, name) + field_of(2, number_of(choice, value)));
}

}  // namespace fasttrt::serving::grpc
