// What a ModelInferRequest says, if it says nothing unusual.
#pragma once

#include <string_view>

#include "serving/infer_header.hpp"

namespace fasttrt::serving::grpc {

// Views of the message.
struct InferMessage {
  std::string_view model;
  std::string_view version;  // empty: the default one
  InferHeader header;        // with the data of its inputs
};

// Reads a message whose data are all raw or in shared memory, with no parameters that would
// change the answer but priority and timeout, each field once. Returns false for all else, whether
// it is valid or not.
[[nodiscard]] bool read_infer_message(std::string_view bytes, InferMessage& message);

// The name of the model alone; empty where there is none at the beginning, as all clients write it.
[[nodiscard]] std::string_view read_model_name(std::string_view bytes) noexcept;

}  // namespace fasttrt::serving::grpc
