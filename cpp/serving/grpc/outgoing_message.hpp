// A message to send, whose tensors stay where the model wrote them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.hpp"

namespace fasttrt::serving::grpc {

// Made once, and then not changed.
struct OutgoingMessage {
  OutgoingMessage() = default;
  OutgoingMessage(const OutgoingMessage&) = delete;
  OutgoingMessage& operator=(const OutgoingMessage&) = delete;

  std::string text;
  std::vector<std::string_view> pieces;  // all of it: of the text, and of the keeper's memory
  engine::RequestRef keeper;
  std::size_t size = 0;  // of the pieces
};
using OutgoingMessagePtr = std::shared_ptr<const OutgoingMessage>;

// Frames a message that is in one piece.
[[nodiscard]] OutgoingMessagePtr framed(std::string_view message);
// How the frame of so many bytes begins.
void append_frame_head(std::string& text, std::size_t size);

}  // namespace fasttrt::serving::grpc
