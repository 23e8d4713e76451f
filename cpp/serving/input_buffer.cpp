#include "serving/input_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace fasttrt::serving {
namespace {

constexpr std::size_t first_size = std::size_t{8} << 10;
constexpr std::size_t min_room = std::size_t{2} << 10;

}  // namespace

void InputBuffer::make_room(std::size_t bytes) {
  if (memory_.size() - end_ >= bytes) return;
  if (begin_ > 0) {
    std::memmove(memory_.data(), memory_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (memory_.size() - end_ >= bytes) return;
  memory_.resize(std::max({first_size, 2 * memory_.size(), end_ + bytes}));
}

std::span<char> InputBuffer::room() {
  make_room(min_room);
  return {memory_.data() + end_, memory_.size() - end_};
}

void InputBuffer::append(std::string_view bytes) {
  if (bytes.empty()) return;
  make_room(bytes.size());
  std::memcpy(memory_.data() + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

void InputBuffer::consume(std::size_t bytes) noexcept {
  begin_ += bytes;
  if (begin_ == end_) begin_ = end_ = 0;
}

}  // namespace fasttrt::serving
