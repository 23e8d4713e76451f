// What a connection has to write, with memory of others' that is written from where it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace fasttrt::serving::grpc {

class OutputQueue {
 public:
  enum class Result : std::uint8_t { written, blocked, failed };

  // Copies them.
  void append(std::string_view bytes);
  // Refers to them, if that is worth it; `keeper` holds them.
  void append(std::string_view bytes, std::shared_ptr<const void> keeper);
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  // Writes as much as the socket takes now.
  [[nodiscard]] Result write(int socket);

 private:
  struct Chunk {
    std::string text;
    std::string_view bytes;  // behind it
    std::shared_ptr<const void> keeper;
  };

  void advance(std::size_t bytes) noexcept;

  std::deque<Chunk> chunks_;
  std::size_t size_ = 0;
  std::size_t written_ = 0;  // of the first chunk
};

}  // namespace fasttrt::serving::grpc
