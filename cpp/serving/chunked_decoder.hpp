// Takes the chunks of a body apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serving/http_text.hpp"

namespace fasttrt::serving {

// Bit by bit, as the bytes come. As strict as HttpParser; what is between the chunks is bounded.
class ChunkedDecoder {
 public:
  // A piece of the body that the bytes begin with, or nothing. At least one byte is taken of what
  // is not empty, except once it is complete or refused.
  struct Step {
    std::size_t taken = 0;  // bytes that are dealt with, the piece included
    std::string_view piece;
  };
  [[nodiscard]] Step next(std::string_view bytes) noexcept;

  // What follows is another request's.
  [[nodiscard]] bool is_complete() const noexcept { return state_ == State::complete; }
  [[nodiscard]] bool is_refused() const noexcept { return error_.status != 0; }
  [[nodiscard]] const HttpError& error() const noexcept { return error_; }

 private:
  enum class State : std::uint8_t {
    size,
    extension,
    size_end,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,
    trailer_lf,
    end_lf,
    complete,
  };

  void take(char c) noexcept;
  void refuse(std::string_view reason) noexcept { error_ = {400, reason}; }
  void expect_line_feed(char c, State next) noexcept;
  void take_size(char c) noexcept;

  State state_ = State::size;
  std::uint64_t left_ = 0;  // of the chunk
  int digits_ = 0;
  std::size_t overhead_ = 0;  // bytes of extensions and trailers
  HttpError error_;
};

}  // namespace fasttrt::serving
