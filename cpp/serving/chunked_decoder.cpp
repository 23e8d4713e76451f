#include "serving/chunked_decoder.hpp"

#include <algorithm>

namespace fasttrt::serving {
namespace {

constexpr int max_digits = 15;
constexpr std::size_t max_overhead = std::size_t{16} << 10;

int digit_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view bytes) noexcept {
  std::size_t taken = 0;
  while (taken < bytes.size() && !is_complete() && !is_refused()) {
    if (state_ == State::data) {
      const auto size = std::min<std::uint64_t>(left_, bytes.size() - taken);
      const auto piece = bytes.substr(taken, static_cast<std::size_t>(size));
      left_ -= size;
      if (left_ == 0) state_ = State::data_cr;
      return {taken + piece.size(), piece};
    }
    take(bytes[taken]);
    ++taken;
  }
  return {taken, {}};
}

void ChunkedDecoder::expect_line_feed(char c, State next) noexcept {
  if (c != '\n') return refuse("a line of a chunked body must end in CRLF");
  state_ = next;
}

void ChunkedDecoder::take_size(char c) noexcept {
  const int value = digit_value(c);
  if (value >= 0) {
    if (++digits_ > max_digits) return refuse("a chunk's size has too many digits");
    left_ = left_ * 16 + static_cast<std::uint64_t>(value);
  } else if (digits_ == 0) {
    refuse("a chunk does not begin with its size");
  } else if (c == '\r') {
    state_ = State::size_end;
  } else if (c == ';') {
    state_ = State::extension;
  } else {
    refuse("invalid chunk size: not a hexadecimal number");
  }
}

void ChunkedDecoder::take(char c) noexcept {
  switch (state_) {
    case State::size: take_size(c); break;
    case State::extension:
    case State::trailer:
    case State::trailer_start:
      if (c == '\r') {
        state_ = state_ == State::extension ? State::size_end
                 : state_ == State::trailer ? State::trailer_lf
                                            : State::end_lf;
      } else if (!is_value_character(c) || ++overhead_ > max_overhead) {
        refuse("a chunk's extensions or trailers are invalid or too large");
      } else if (state_ == State::trailer_start) {
        if (!is_token_character(c)) return refuse("a trailer does not begin with its name");
        state_ = State::trailer;
      }
      break;
    case State::size_end:
      digits_ = 0;
      expect_line_feed(c, left_ == 0 ? State::trailer_start : State::data);
      break;
    case State::data_cr:
      if (c != '\r') return refuse("a chunk is longer than its size");
      state_ = State::data_lf;
      break;
    case State::data_lf: expect_line_feed(c, State::size); break;
    case State::trailer_lf: expect_line_feed(c, State::trailer_start); break;
    case State::end_lf: expect_line_feed(c, State::complete); break;
    case State::data:
    case State::complete: break;
  }
}

}  // namespace fasttrt::serving
