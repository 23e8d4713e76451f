// Reads the head of an HTTP/1.1 request: its first line and headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "serving/http_text.hpp"

namespace fasttrt::serving {

struct Header {
  std::string_view name;
  std::string_view value;

  [[nodiscard]] bool is(std::string_view other) const noexcept {
    return name.size() == other.size() && equals_ignoring_case(name, other);
  }
};

// Views of the bytes that were parsed.
struct RequestHead {
  std::string_view method;
  std::string_view target;
  int minor_version = 1;  // of HTTP/1.x
  std::vector<Header> headers;
  std::optional<std::uint64_t> content_length;
  bool is_chunked = false;
  bool keeps_alive = true;  // the connection, as far as the client is concerned
  bool expects_continue = false;

  // The first of this name, whatever its case; null where there is none.
  [[nodiscard]] const Header* find(std::string_view name) const noexcept;
  // The value of the only header of this name; empty where there is none, or several.
  [[nodiscard]] std::string_view only(std::string_view name) const noexcept;
};

struct HeadLimits {
  std::size_t max_bytes = std::size_t{16} << 10;
  std::size_t max_target_bytes = std::size_t{8} << 10;
  std::size_t max_headers = 100;
};

// Strict, since what two parsers read differently can hide one request within another: lines end
// in CRLF, names have no space behind them, no line continues the one before, and there is one
// valid statement of how long the body is.
class HttpParser {
 public:
  enum class Result : std::uint8_t { incomplete, complete, refused };

  explicit HttpParser(HeadLimits limits) noexcept : limits_(limits) {}

  // `bytes` begins where a request does. Called again with more behind the same bytes, it looks at
  // these only.
  [[nodiscard]] Result parse(std::string_view bytes);
  // The next bytes are those of another request.
  void reset() noexcept;

  // Once complete, as long as the bytes stay where they are.
  [[nodiscard]] const RequestHead& head() const noexcept { return head_; }
  // Of the head, the empty line behind it included.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  // Once refused.
  [[nodiscard]] const HttpError& error() const noexcept { return error_; }

 private:
  Result refuse(int status, std::string_view reason) noexcept;
  [[nodiscard]] bool parse_lines(std::string_view lines);
  [[nodiscard]] bool parse_request_line(std::string_view line);
  [[nodiscard]] bool parse_header(std::string_view line);
  [[nodiscard]] bool interpret_headers();
  [[nodiscard]] bool interpret(const Header& header);
  [[nodiscard]] bool interpret_transfer_encoding(std::string_view value);

  const HeadLimits limits_;
  std::size_t begin_ = 0;    // behind an empty line that came before the request
  std::size_t scanned_ = 0;  // whole lines
  std::size_t size_ = 0;
  int hosts_ = 0;
  bool closes_ = false;
  bool asks_to_keep_alive_ = false;
  RequestHead head_;
  HttpError error_;
};

}  // namespace fasttrt::serving
