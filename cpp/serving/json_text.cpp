#include "serving/json_text.hpp"

namespace fasttrt::serving {

std::string json_string(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string json = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (code < 0x20) {
      json += "\\u00";
      json += digits[code >> 4];
      json += digits[code & 15];
    } else {
      json += c;
    }
  }
  return json += '"';
}

std::string json_error(std::string_view message) {
  return R"({"error":)" + json_string(message) + "}";
}

}  // namespace fasttrt::serving
