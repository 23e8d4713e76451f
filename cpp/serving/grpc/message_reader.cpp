#include "serving/grpc/message_reader.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::serving::grpc {

bool MessageReader::refuse(Code code, std::string reason) {
  error_ = {code, std::move(reason)};
  message_ = {};
  return false;
}

// The head is here.
bool MessageReader::begin(const MessageMemory& memory) {
  std::size_t size = 0;
  for (std::size_t i = 1; i < head_.size(); ++i) size = size << 8 | head_.at(i);
  if (head_[0] > 1) {
    return refuse(Code::internal,
                  "expected a message's first byte to be 0 or 1, got " + std::to_string(head_[0]));
  }
  if (size > max_bytes_) {
    return refuse(Code::resource_exhausted, "the message has " + std::to_string(size) +
                                                " bytes, this server takes at most " +
                                                std::to_string(max_bytes_));
  }
  message_.is_compressed = head_[0] == 1;
  message_.body = RequestBody(memory.budget, memory.pool, memory.align_at);
  bool has_memory = false;
  try {
    has_memory = message_.body.reserve(size);
  } catch (const OutOfMemoryError&) {
    has_memory = false;
  }
  return has_memory ||
         refuse(Code::resource_exhausted, "the server has no memory for the message at the moment");
}

MessageReader::Result MessageReader::read(std::string_view& bytes, const MessageMemory& memory) {
  if (head_size_ < head_.size()) {
    const auto taken = std::min(head_.size() - head_size_, bytes.size());
    if (taken > 0) std::memcpy(head_.data() + head_size_, bytes.data(), taken);
    head_size_ += taken;
    bytes.remove_prefix(taken);
    if (head_size_ < head_.size()) return Result::incomplete;
    if (!begin(memory)) return Result::refused;
  }
  const auto room = message_.body.room();
  const auto taken = std::min(room.size(), bytes.size());
  if (taken > 0) std::memcpy(room.data(), bytes.data(), taken);
  message_.body.commit(taken);
  bytes.remove_prefix(taken);
  return taken == room.size() ? Result::complete : Result::incomplete;
}

ReceivedMessage MessageReader::take() noexcept {
  head_size_ = 0;
  return std::exchange(message_, {});
}

}  // namespace fasttrt::serving::grpc
