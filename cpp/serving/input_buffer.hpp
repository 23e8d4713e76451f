// Bytes that came in and were not dealt with yet.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace fasttrt::serving {

class InputBuffer {
 public:
  [[nodiscard]] std::string_view bytes() const noexcept {
    return {memory_.data() + begin_, end_ - begin_};
  }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }

  // Where the next bytes go: some room at least, for which those here may be moved.
  [[nodiscard]] std::span<char> room();
  void commit(std::size_t bytes) noexcept { end_ += bytes; }
  void append(std::string_view bytes);
  // Drops the first bytes.
  void consume(std::size_t bytes) noexcept;

 private:
  void make_room(std::size_t bytes);

  std::vector<char> memory_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace fasttrt::serving
