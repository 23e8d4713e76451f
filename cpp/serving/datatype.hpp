// The protocol's names of tensors' types.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "nvinfer/enums.hpp"

namespace fasttrt::serving {

// Those that TensorRT has, too.
inline constexpr std::array datatypes{
    std::pair{std::string_view("BOOL"), nvinfer::DataType::boolean},
    std::pair{std::string_view("UINT8"), nvinfer::DataType::uint8},
    std::pair{std::string_view("INT8"), nvinfer::DataType::int8},
    std::pair{std::string_view("INT32"), nvinfer::DataType::int32},
    std::pair{std::string_view("INT64"), nvinfer::DataType::int64},
    std::pair{std::string_view("FP16"), nvinfer::DataType::float16},
    std::pair{std::string_view("BF16"), nvinfer::DataType::bfloat16},
    std::pair{std::string_view("FP32"), nvinfer::DataType::float32},
};

[[nodiscard]] constexpr std::optional<nvinfer::DataType> to_data_type(
    std::string_view datatype) noexcept {
  for (const auto& [name, type] : datatypes) {
    if (name == datatype) return type;
  }
  return std::nullopt;
}

}  // namespace fasttrt::serving
