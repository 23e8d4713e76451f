// The vendor's enumerations. Where a value depends on the generation it is looked up in the table;
// where it never moved, a plain enum class holds it (the header check covers both).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "nvinfer/methods.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

struct Enumerator {
  const char* enumeration = nullptr;
  const char* name = nullptr;
  std::array<Slot, generation_count> values;  // Slot::index is the enumerator's value
};

namespace enums {
using methods::at;
using methods::none;
using methods::since;
#define ENUMERATOR(identifier, enumeration, name, ...) \
  inline constexpr Enumerator identifier{#enumeration, #name, {{__VA_ARGS__}}};
#include "nvinfer/enums.inc"
#undef ENUMERATOR
}  // namespace enums

// For enumerators that are the same in every generation.
consteval std::int32_t fixed(const Enumerator& enumerator) {
  std::int32_t value = -1;
  for (const auto& slot : enumerator.values) {
    if (slot.index < 0) continue;
    if (value >= 0 && slot.index != value) throw "this enumerator depends on the generation";
    value = slot.index;
  }
  return value;
}

enum class DataType : std::int32_t {
  float32 = fixed(enums::data_type_float32),
  float16 = fixed(enums::data_type_float16),
  int8 = fixed(enums::data_type_int8),
  int32 = fixed(enums::data_type_int32),
  boolean = fixed(enums::data_type_bool),
  uint8 = fixed(enums::data_type_uint8),
  float8_e4m3fn = fixed(enums::data_type_fp8),
  bfloat16 = fixed(enums::data_type_bfloat16),
  int64 = fixed(enums::data_type_int64),
  int4 = fixed(enums::data_type_int4),
  float4_e2m1fn = fixed(enums::data_type_fp4),
  float8_e8m0fnu = fixed(enums::data_type_e8m0),
};

enum class Selector : std::int32_t {
  min = fixed(enums::selector_min),
  opt = fixed(enums::selector_opt),
  max = fixed(enums::selector_max),
};

enum class Severity : std::int32_t {
  internal_error = fixed(enums::severity_internal_error),
  error = fixed(enums::severity_error),
  warning = fixed(enums::severity_warning),
  info = fixed(enums::severity_info),
  verbose = fixed(enums::severity_verbose),
};

// As numpy and ml_dtypes name it; "unknown" for a value outside the enumeration.
[[nodiscard]] std::string_view dtype_name(DataType type) noexcept;
// Bits of one element; 0 for an unknown type.
[[nodiscard]] int bits_per_element(DataType type) noexcept;
// Bytes of `count` elements, sub-byte types packed.
[[nodiscard]] std::size_t byte_size(DataType type, std::int64_t count) noexcept;

}  // namespace fasttrt::nvinfer
