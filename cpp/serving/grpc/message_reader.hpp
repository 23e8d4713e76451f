// Messages as gRPC frames them: one byte that says whether it is compressed, four of its length,
// itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "serving/grpc/status.hpp"
#include "serving/request_body.hpp"

namespace fasttrt::serving::grpc {

struct ReceivedMessage {
  RequestBody body;
  bool is_compressed = false;
};

// Where messages are put.
struct MessageMemory {
  std::shared_ptr<MemoryBudget> budget;
  std::shared_ptr<engine::PinnedPool> pool;  // null: ordinary memory
  std::size_t align_at = 0;                  // see RequestBody
};

class MessageReader {
 public:
  enum class Result : std::uint8_t { incomplete, complete, refused };

  explicit MessageReader(std::size_t max_bytes) noexcept : max_bytes_(max_bytes) {}

  // Takes bytes off, those of one message at most. complete: take() has it.
  [[nodiscard]] Result read(std::string_view& bytes, const MessageMemory& memory);
  [[nodiscard]] ReceivedMessage take() noexcept;
  // Whether a message has begun.
  [[nodiscard]] bool is_within() const noexcept { return head_size_ > 0; }
  // Of what was refused.
  [[nodiscard]] const Status& error() const noexcept { return error_; }

 private:
  [[nodiscard]] bool begin(const MessageMemory& memory);
  bool refuse(Code code, std::string reason);

  const std::size_t max_bytes_;
  std::array<unsigned char, 5> head_{};
  std::size_t head_size_ = 0;  // 5: the message itself is read
  ReceivedMessage message_;
  Status error_;
};

}  // namespace fasttrt::serving::grpc
