// Whatever bytes come, in whatever pieces: the parsers read the same, within the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "serving/chunked_decoder.hpp"
#include "serving/http_parser.hpp"

namespace {

using fasttrt::serving::ChunkedDecoder;
using fasttrt::serving::HttpParser;
using Result = HttpParser::Result;

void require(bool condition) {
  if (!condition) std::abort();
}

void require_within(std::string_view part, std::string_view bytes) {
  require(part.empty() || (part.data() >= bytes.data() &&
                           part.data() + part.size() <= bytes.data() + bytes.size()));
}

void check_head(const HttpParser& parser, std::string_view bytes) {
  const auto& head = parser.head();
  require(parser.size() >= std::string_view("A / HTTP/1.0\r\n\r\n").size());
  require(parser.size() <= bytes.size());
  require(bytes.substr(0, parser.size()).ends_with("\r\n\r\n"));
  require(fasttrt::serving::is_token(head.method));
  require(!head.target.empty());
  require_within(head.method, bytes);
  require_within(head.target, bytes);
  for (const auto& header : head.headers) {
    require(fasttrt::serving::is_token(header.name));
    require(header.value.find_first_of("\r\n") == std::string_view::npos);
    require_within(header.name, bytes);
    require_within(header.value, bytes);
  }
  require(!(head.is_chunked && head.content_length));
}

struct Body {
  std::string bytes;
  std::size_t taken = 0;
  bool is_complete = false;
  bool is_refused = false;
  friend bool operator==(const Body&, const Body&) = default;
};

Body decode(std::string_view bytes, std::size_t piece) {
  ChunkedDecoder decoder;
  Body body;
  while (body.taken < bytes.size() && !decoder.is_complete() && !decoder.is_refused()) {
    const auto rest = bytes.substr(body.taken, piece);
    const auto step = decoder.next(rest);
    require(step.taken > 0 && step.taken <= rest.size());
    require_within(step.piece, rest);
    body.taken += step.taken;
    body.bytes += step.piece;
  }
  body.is_complete = decoder.is_complete();
  body.is_refused = decoder.is_refused();
  require(!(body.is_complete && body.is_refused));
  return body;
}

}  // namespace

// The first byte: how many bytes come at a time.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 64;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  HttpParser at_once({512, 128, 8});
  const auto result = at_once.parse(bytes);
  HttpParser parser({512, 128, 8});
  auto last = Result::incomplete;
  for (std::size_t seen = 0; last == Result::incomplete && seen < bytes.size();) {
    seen = std::min(seen + piece, bytes.size());
    last = parser.parse(bytes.substr(0, seen));
  }
  require(last == result || bytes.empty());
  require(parser.size() == at_once.size());
  if (result == Result::refused) require(at_once.error().status >= 400);
  if (result != Result::complete) return 0;
  check_head(at_once, bytes);
  if (!at_once.head().is_chunked) return 0;
  const auto rest = bytes.substr(at_once.size());
  const auto whole = decode(rest, rest.size());
  require(decode(rest, piece) == whole);
  return 0;
}
