#include "serving/http_parser.hpp"

#include <algorithm>
#include <utility>

namespace fasttrt::serving {
namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::size_t max_method_bytes = 32;

bool is_target(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

const Header* RequestHead::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find_if(headers, [&](auto& header) { return header.is(name); });
  return found == headers.end() ? nullptr : &*found;
}

std::string_view RequestHead::only(std::string_view name) const noexcept {
  const Header* found = nullptr;
  for (const auto& header : headers) {
    if (!header.is(name)) continue;
    if (found != nullptr) return {};
    found = &header;
  }
  return found == nullptr ? std::string_view() : found->value;
}

void HttpParser::reset() noexcept {
  begin_ = scanned_ = size_ = 0;
  hosts_ = 0;
  closes_ = asks_to_keep_alive_ = false;
  auto headers = std::move(head_.headers);
  headers.clear();
  head_ = {};
  head_.headers = std::move(headers);  // its memory
  error_ = {};
}

HttpParser::Result HttpParser::refuse(int status, std::string_view reason) noexcept {
  error_ = {status, reason};
  return Result::refused;
}

HttpParser::Result HttpParser::parse(std::string_view bytes) {
  if (scanned_ == 0 && bytes.starts_with(line_end)) begin_ = scanned_ = line_end.size();
  if (bytes.size() > begin_ && bytes[begin_] != '\r' && !is_token_character(bytes[begin_])) {
    return refuse(400, "not an HTTP request");
  }
  constexpr std::size_t around_target = max_method_bytes + std::string_view(" HTTP/1.1 ").size();
  const auto max_line_end = begin_ + limits_.max_target_bytes + around_target;
  const auto seen = bytes.substr(0, begin_ + limits_.max_bytes);
  for (;;) {
    const auto end = seen.find('\n', scanned_);
    const bool is_first = scanned_ == begin_;
    if (is_first && std::min(end, bytes.size()) > max_line_end) {
      return refuse(414, "the request line is too long");
    }
    if (end == std::string_view::npos) break;
    if (end == scanned_ || seen[end - 1] != '\r') return refuse(400, "a line must end in CRLF");
    if (end == scanned_ + 1) {  // the empty line
      if (is_first) return refuse(400, "there is no request line");
      const auto lines = bytes.substr(begin_, scanned_ - begin_);
      if (!parse_lines(lines) || !interpret_headers()) return Result::refused;
      size_ = end + 1;
      return Result::complete;
    }
    scanned_ = end + 1;
  }
  if (bytes.size() - begin_ >= limits_.max_bytes) return refuse(431, "the headers are too large");
  return Result::incomplete;
}

// Each ends in CRLF.
bool HttpParser::parse_lines(std::string_view lines) {
  bool is_first = true;
  while (!lines.empty()) {
    const auto end = lines.find(line_end);
    const auto line = lines.substr(0, end);
    if (!(is_first ? parse_request_line(line) : parse_header(line))) return false;
    is_first = false;
    lines.remove_prefix(end + line_end.size());
  }
  return true;
}

bool HttpParser::parse_request_line(std::string_view line) {
  const auto method_end = line.find(' ');
  const auto target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || target_end == method_end) {
    refuse(400, "the request line is not a method, a target and a version");
    return false;
  }
  head_.method = line.substr(0, method_end);
  head_.target = line.substr(method_end + 1, target_end - method_end - 1);
  const auto version = line.substr(target_end + 1);
  if (!is_token(head_.method) || head_.method.size() > max_method_bytes) {
    refuse(400, "the method is not one of HTTP's");
  } else if (head_.target.size() > limits_.max_target_bytes) {
    refuse(414, "the request target is too long");
  } else if (!is_target(head_.target)) {
    refuse(400, "the request target is empty or has characters that must be percent-encoded");
  } else if (version == "HTTP/1.1" || version == "HTTP/1.0") {
    head_.minor_version = version.back() - '0';
    return true;
  } else if (version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
             version[6] == '.' && is_digit(version[7])) {
    refuse(505, "only HTTP/1.0 and HTTP/1.1 are supported");
  } else {
    refuse(400, "the request line does not end in a version of HTTP");
  }
  return false;
}

bool HttpParser::parse_header(std::string_view line) {
  const auto colon = line.find(':');
  const auto name = line.substr(0, colon);
  const auto value = colon == std::string_view::npos ? "" : trimmed(line.substr(colon + 1));
  if (colon == std::string_view::npos || !is_token(name)) {
    refuse(400, "a header is not a name, a colon and a value");
  } else if (!is_value(value)) {
    refuse(400, "a header's value has control characters");
  } else if (head_.headers.size() == limits_.max_headers) {
    refuse(431, "there are too many headers");
  } else {
    head_.headers.push_back({name, value});
    return true;
  }
  return false;
}

bool HttpParser::interpret_headers() {
  for (const auto& header : head_.headers) {
    if (!interpret(header)) return false;
  }
  const bool is_old = head_.minor_version == 0;
  head_.keeps_alive = !closes_ && (!is_old || asks_to_keep_alive_);
  if (hosts_ > 1 || (hosts_ == 0 && !is_old)) {
    refuse(400, "expected exactly one Host header");
  } else if (head_.is_chunked && head_.content_length) {
    refuse(400, "expected either Content-Length or Transfer-Encoding, got both");
  } else if (head_.is_chunked && is_old) {
    refuse(400, "HTTP/1.0 has no Transfer-Encoding");
  } else {
    return true;
  }
  return false;
}

bool HttpParser::interpret(const Header& header) {
  if (header.is("content-length")) {
    const auto length = to_number(header.value);
    if (!length || head_.content_length) {
      refuse(400, "Content-Length is not one number of bytes");
      return false;
    }
    head_.content_length = length;
  } else if (header.is("transfer-encoding")) {
    return interpret_transfer_encoding(header.value);
  } else if (header.is("connection")) {
    for_each_item(header.value, [&](std::string_view option) {
      closes_ = closes_ || equals_ignoring_case(option, "close");
      asks_to_keep_alive_ = asks_to_keep_alive_ || equals_ignoring_case(option, "keep-alive");
    });
  } else if (header.is("host")) {
    ++hosts_;
  } else if (header.is("expect")) {
    if (header.value.empty()) return true;  // as Triton's C++ client sends it
    if (!equals_ignoring_case(header.value, "100-continue")) {
      refuse(417, "nothing is expected of this server but 100-continue");
      return false;
    }
    head_.expects_continue = head_.minor_version > 0;
  }
  return true;
}

bool HttpParser::interpret_transfer_encoding(std::string_view value) {
  if (head_.is_chunked) {
    refuse(400, "a request has one Transfer-Encoding");
    return false;
  }
  if (!equals_ignoring_case(value, "chunked")) {
    refuse(501, "the only Transfer-Encoding is chunked");
    return false;
  }
  head_.is_chunked = true;
  return true;
}

}  // namespace fasttrt::serving
