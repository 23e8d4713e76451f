#include "nvinfer/enums.hpp"

namespace fasttrt::nvinfer {

std::string_view dtype_name(DataType type) noexcept {
  switch (type) {
    case DataType::float32: return "float32";
    case DataType::float16: return "float16";
    case DataType::int8: return "int8";
    case DataType::int32: return "int32";
    case DataType::boolean: return "bool";
    case DataType::uint8: return "uint8";
    case DataType::float8_e4m3fn: return "float8_e4m3fn";
    case DataType::bfloat16: return "bfloat16";
    case DataType::int64: return "int64";
    case DataType::int4: return "int4";
    case DataType::float4_e2m1fn: return "float4_e2m1fn";
    case DataType::float8_e8m0fnu: return "float8_e8m0fnu";
  }
  return "unknown";
}

int bits_per_element(DataType type) noexcept {
  switch (type) {
    case DataType::int64: return 64;
    case DataType::float32:
    case DataType::int32: return 32;
    case DataType::float16:
    case DataType::bfloat16: return 16;
    case DataType::int8:
    case DataType::uint8:
    case DataType::boolean:
    case DataType::float8_e4m3fn:
    case DataType::float8_e8m0fnu: return 8;
    case DataType::int4:
    case DataType::float4_e2m1fn: return 4;
  }
  return 0;
}

std::size_t byte_size(DataType type, std::int64_t count) noexcept {
  return (static_cast<std::size_t>(count) * static_cast<std::size_t>(bits_per_element(type)) + 7) /
         8;
}

}  // namespace fasttrt::nvinfer
