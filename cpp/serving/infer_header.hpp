// What the JSON part of an infer request says, if it says nothing unusual.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "nvinfer/dims.hpp"

namespace fasttrt::serving {

// Views of the text.
struct InferHeader {
  // A place in shared memory; without a name of a region: none.
  struct Shared {
    std::string_view region;
    std::uint64_t offset = 0;
  };
  struct Input {
    std::string_view name;
    std::string_view datatype;
    nvinfer::Dims shape;
    std::uint64_t bytes = 0;  // of its data
    Shared shared;            // none: in the body
    std::string_view data;    // there
  };
  struct Output {
    std::string_view name;
    Shared shared;
    std::uint64_t bytes = 0;  // that may be written there
  };

  std::string_view id;  // empty: none
  std::vector<Input> inputs;
  std::vector<Output> outputs;  // none: all
  std::uint64_t priority = 0;
  std::uint64_t timeout_us = 0;  // 0: none

  void clear() noexcept;
};

// Reads a header whose inputs and outputs are all binary or in shared memory, with the keys and
// parameters that every client knows, each once. Returns false for all else, valid or not.
[[nodiscard]] bool read_infer_header(std::string_view json, InferHeader& header);

}  // namespace fasttrt::serving
