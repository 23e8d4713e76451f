#include "serving/http_parser.hpp"

#include <doctest/doctest.h>

#include <string>

namespace fasttrt::serving {
namespace {

using Result = HttpParser::Result;

// Parses a request byte by byte, and at once, which must be the same.
struct Parsed {
  explicit Parsed(std::string bytes, HeadLimits limits = {})
      : text(std::move(bytes)), parser(limits), gradual(limits) {
    result = parser.parse(text);
    auto last = Result::incomplete;
    std::size_t size = 0;
    while (last == Result::incomplete && size < text.size()) {
      last = gradual.parse(std::string_view(text).substr(0, ++size));
    }
    CHECK(last == result);
    CHECK(gradual.error().status == parser.error().status);
    CHECK(gradual.size() == parser.size());
  }
  [[nodiscard]] const RequestHead& head() const { return parser.head(); }
  [[nodiscard]] int status() const { return parser.error().status; }

  std::string text;
  HttpParser parser;
  HttpParser gradual;
  Result result;
};

int status_of(const std::string& bytes) {
  const Parsed parsed(bytes);
  CHECK(parsed.result == Result::refused);
  return parsed.status();
}

TEST_CASE("A request's head is its method, target, version and headers") {
  const Parsed parsed(
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: a:8000\r\ncontent-LENGTH:  12\t\r\nX: "
      "\r\n\r\nrest");
  REQUIRE(parsed.result == Result::complete);
  const auto& head = parsed.head();
  CHECK(head.method == "POST");
  CHECK(head.target == "/v2/models/m/infer");
  CHECK(head.minor_version == 1);
  CHECK(head.headers.size() == 3);
  CHECK(head.only("HOST") == "a:8000");
  CHECK(head.find("x")->value.empty());
  CHECK(head.find("y") == nullptr);
  CHECK(head.content_length == 12);
  CHECK(head.keeps_alive);
  CHECK(!head.is_chunked);
  CHECK(!head.expects_continue);
  CHECK(parsed.parser.size() == parsed.text.size() - 4);
}

TEST_CASE("A header that came twice is not the only one") {
  const Parsed parsed("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\na: 2\r\n\r\n");
  REQUIRE(parsed.result == Result::complete);
  CHECK(parsed.head().find("a")->value == "1");
  CHECK(parsed.head().only("a").empty());
}

TEST_CASE("An empty line may precede a request") {
  const Parsed parsed("\r\nGET / HTTP/1.0\r\n\r\n");
  REQUIRE(parsed.result == Result::complete);
  CHECK(parsed.head().method == "GET");
  CHECK(parsed.parser.size() == parsed.text.size());
  CHECK(status_of("\r\n\r\n") == 400);
}

TEST_CASE("HTTP/1.1 keeps connections unless told otherwise, HTTP/1.0 only when asked") {
  const auto keeps = [](const std::string& version, const std::string& header) {
    const Parsed parsed("GET / HTTP/" + version + "\r\nHost: a\r\n" + header + "\r\n");
    REQUIRE(parsed.result == Result::complete);
    return parsed.head().keeps_alive;
  };
  CHECK(keeps("1.1", ""));
  CHECK(!keeps("1.1", "Connection: x ,CLOSE\r\n"));
  CHECK(!keeps("1.0", ""));
  CHECK(keeps("1.0", "Connection: keep-alive\r\n"));
  CHECK(!keeps("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
}

TEST_CASE("A reset parser reads another request") {
  HttpParser parser({});
  CHECK(parser.parse("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n") ==
        Result::complete);
  parser.reset();
  CHECK(parser.parse("PUT /b HTTP/1.1\r\nHost: b\r\n\r\n") == Result::complete);
  CHECK(parser.head().method == "PUT");
  CHECK(!parser.head().content_length);
  CHECK(parser.head().headers.size() == 1);
}

TEST_CASE("What two parsers might read differently is refused") {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (const auto* header :
       {"Content-Length: 1\r\nContent-Length: 1", "Content-Length: 1, 1", "Content-Length: 0x1",
        "Content-Length: -1", "Content-Length:", "Content-Length: 9999999999999999999",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "A : b", " A: b", "A: b\r\n c",
        "A\rB: c", "A: b\rC: d", "A", ": a", "A: \x01", "A: b\nC: d"}) {
    CAPTURE(header);
    CHECK(status_of(start + header + "\r\n\r\n") == 400);
  }
  CHECK(status_of(start + std::string("A: \0b", 5) + "\r\n\r\n") == 400);
  for (const auto* header :
       {"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked"}) {
    CHECK(status_of(start + header + "\r\n\r\n") == 501);
  }
  CHECK(status_of("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400);
}

TEST_CASE("What is no request line is refused") {
  for (const auto* line :
       {"GET", "GET /", "GET  HTTP/1.1", "GET / HTTP/1.1 ", "GET / http/1.1", "G(T / HTTP/1.1",
        "GET / / HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1", "GET / HTTP/1.10"}) {
    CAPTURE(line);
    CHECK(status_of(std::string(line) + "\r\nHost: a\r\n\r\n") == 400);
  }
  CHECK(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == 505);
  CHECK(status_of("GET / HTTP/1.2\r\nHost: a\r\n\r\n") == 505);
  CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of("\x16\x03\x01") == 400);
}

TEST_CASE("A head is refused as soon as it is larger than it may be") {
  const HeadLimits limits{256, 64, 3};
  const auto status = [&](const std::string& bytes) { return Parsed(bytes, limits).status(); };
  const std::string many(300, 'a');
  CHECK(status("GET /" + many.substr(0, 63) + " HTTP/1.0\r\n\r\n") == 0);
  CHECK(status("GET /" + many.substr(0, 64) + " HTTP/1.0\r\n\r\n") == 414);
  CHECK(status("GET /" + many) == 414);
  // Found by fuzzing: a long line without an end was another error than one that has its end.
  CHECK(status("GET /\x01" + many.substr(0, 150) + "\r\n\r\n") == 414);
  CHECK(status("GET / HTTP/1.0\r\nA: " + many) == 431);
  CHECK(status("GET / HTTP/1.0\r\nA: " + many.substr(0, 233) + "\r\n\r\n") == 0);
  CHECK(status("GET / HTTP/1.0\r\nA: " + many.substr(0, 234) + "\r\n\r\n") == 431);
  CHECK(status("GET / HTTP/1.0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n") == 0);
  CHECK(status("GET / HTTP/1.0\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n") == 431);
}

TEST_CASE("Only 100-continue may be expected, and HTTP/1.0 does not know it") {
  const Parsed parsed("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n");
  CHECK(parsed.head().expects_continue);
  CHECK(!Parsed("PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").head().expects_continue);
  CHECK(!Parsed("PUT / HTTP/1.1\r\nHost: a\r\nExpect:\r\n\r\n").head().expects_continue);
  CHECK(status_of("PUT / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n") == 417);
}

}  // namespace
}  // namespace fasttrt::serving
