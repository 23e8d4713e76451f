#include "serving/chunked_decoder.hpp"

#include <doctest/doctest.h>

#include <string>

namespace fasttrt::serving {
namespace {

struct Decoded {
  std::string body;
  std::size_t taken = 0;
  ChunkedDecoder decoder;
};

// In pieces of so many bytes.
Decoded decode(std::string_view bytes, std::size_t size) {
  Decoded decoded;
  while (decoded.taken < bytes.size() && !decoded.decoder.is_complete()) {
    const auto step = decoded.decoder.next(bytes.substr(decoded.taken, size));
    if (decoded.decoder.is_refused()) break;
    REQUIRE(step.taken > 0);
    decoded.taken += step.taken;
    decoded.body += step.piece;
  }
  return decoded;
}

TEST_CASE("Chunks are taken apart however they come") {
  const std::string bytes =
      "5\r\nhello\r\n00A;name=\"a b\"\r\n0123456789\r\n1;\r\n\r\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    const auto decoded = decode(bytes + "GET", size);
    CHECK(decoded.decoder.is_complete());
    CHECK(decoded.body == "hello0123456789\r");
    CHECK(decoded.taken == bytes.size());
  }
  CHECK(decode("0\r\n\r\n", 9).decoder.is_complete());
}

TEST_CASE("What is no chunk is refused") {
  for (const auto* bytes :
       {"\r\n", "x\r\n", " 1\r\na\r\n", "1 \r\na\r\n", "0x1\r\na\r\n", "1\na\r\n", "1\r\na\n",
        "1\r\nab\r\n", "1\r\r\n", "1000000000000000\r\n", "1;\n", "1;\x01\r\n",
        "0\r\n x: y\r\n\r\n", "0\r\nx\n\r\n", "0\r\n\ra"}) {
    CAPTURE(bytes);
    for (const auto size : {std::size_t{1}, std::size_t{99}}) {
      const auto decoded = decode(bytes, size);
      CHECK(decoded.decoder.is_refused());
      CHECK(decoded.decoder.error().status == 400);
    }
  }
}

TEST_CASE("What is between chunks is bounded") {
  const std::string many(20'000, 'a');
  CHECK(decode("1;" + many, 999).decoder.is_refused());
  CHECK(decode("0\r\na: " + many, 999).decoder.is_refused());
  std::string pieces;
  for (int i = 0; i < 10'000; ++i) pieces += "1;ab\r\nx\r\n";
  CHECK(decode(pieces, 999).decoder.is_refused());
}

}  // namespace
}  // namespace fasttrt::serving
