#include "serving/grpc/status.hpp"

#include <cstddef>

namespace fasttrt::serving::grpc {
namespace {

constexpr std::size_t max_bytes = 4096;  // clients take 8 KiB of trailers or more

}  // namespace

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool begins = (byte & 0xc0) != 0x80;  // a character of UTF-8, which is not to be cut
    if (encoded.size() > max_bytes && begins) return encoded.append("...");
    if (byte >= 0x20 && byte < 0x7f && byte != '%') {
      encoded.push_back(c);
    } else {
      encoded.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return encoded;
}

}  // namespace fasttrt::serving::grpc
