// What the JSON part of an infer request says, if it says nothing unusual.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "nvinfer/dims.hpp"

namespace fasttrt::serving {

// Views of the text.
struct InferHeader {
  struct Input {
    std::string_view name;
    std::string_view datatype;
    nvinfer::Dims shape;
    std::uint64_t bytes = 0;
  };

  std::string_view id;  // empty: none
  std::vector<Input> inputs;
  std::vector<std::string_view> outputs;  // none: all
  std::uint64_t priority = 0;
  std::uint64_t timeout_us = 0;  // 0: none

  void clear() noexcept;
};

// Reads a header whose inputs and outputs are all binary, with the keys and parameters that every
// client knows, each once. Returns false for all else, whether it is valid or not.
[[nodiscard]] bool read_infer_header(std::string_view json, InferHeader& header);

}  // namespace fasttrt::serving
