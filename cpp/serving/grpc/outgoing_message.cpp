#include "serving/grpc/outgoing_message.hpp"

namespace fasttrt::serving::grpc {

void append_frame_head(std::string& text, std::size_t size) {
  text.push_back('\0');  // not compressed
  for (const int shift : {24, 16, 8, 0}) text.push_back(static_cast<char>(size >> shift & 0xff));
}

OutgoingMessagePtr framed(std::string_view message) {
  auto made = std::make_shared<OutgoingMessage>();
  append_frame_head(made->text, message.size());
  made->text += message;
  made->pieces.emplace_back(made->text);
  made->size = made->text.size();
  return made;
}

}  // namespace fasttrt::serving::grpc
