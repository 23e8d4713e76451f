#include "serving/http_response.hpp"

#include <array>
#include <utility>

#include "common/error.hpp"
#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

// Larger ones are not worth copying behind the headers.
constexpr std::size_t max_joined_bytes = std::size_t{4} << 10;

std::string_view reason_phrase(int status) noexcept {
  constexpr std::array phrases{
      std::pair{200, "OK"},
      std::pair{204, "No Content"},
      std::pair{400, "Bad Request"},
      std::pair{401, "Unauthorized"},
      std::pair{403, "Forbidden"},
      std::pair{404, "Not Found"},
      std::pair{405, "Method Not Allowed"},
      std::pair{408, "Request Timeout"},
      std::pair{413, "Content Too Large"},
      std::pair{414, "URI Too Long"},
      std::pair{417, "Expectation Failed"},
      std::pair{431, "Request Header Fields Too Large"},
      std::pair{500, "Internal Server Error"},
      std::pair{501, "Not Implemented"},
      std::pair{503, "Service Unavailable"},
      std::pair{505, "HTTP Version Not Supported"},
  };
  for (const auto& [code, phrase] : phrases) {
    if (code == status) return phrase;
  }
  return "";  // it may be empty
}

}  // namespace

void add_header(HttpResponse& response, std::string_view name, std::string_view value) {
  if (!is_token(name) || !is_value(value)) {
    throw InputError("response header '" + std::string(name) +
                     "': expected a name and a value without control characters");
  }
  for (const std::string_view own : {"connection", "content-length", "transfer-encoding"}) {
    if (!equals_ignoring_case(name, own)) continue;
    throw InputError("response header '" + std::string(name) + "' is the server's own");
  }
  response.headers.append(name).append(": ").append(value).append("\r\n");
}

HttpResponse error_response(int status, std::string_view message) {
  HttpResponse response;
  response.status = status;
  response.headers = "Content-Type: application/json\r\n";
  response.body = json_error(message);
  return response;
}

std::size_t WireResponse::size() const noexcept {
  auto bytes = text.size() + body.size();
  for (const auto part : parts) bytes += part.size();
  return bytes;
}

WireResponse to_wire(HttpResponse response, Persistence persistence, bool without_body) {
  WireResponse wire;
  auto size = response.body.size();
  for (const auto part : response.parts) size += part.size();
  auto& text = wire.text;
  text.reserve(response.headers.size() + response.body.size() % max_joined_bytes + 128);
  text.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  text.append(reason_phrase(response.status)).append("\r\n").append(response.headers);
  const bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  if (has_body) text.append("Content-Length: ").append(std::to_string(size)).append("\r\n");
  if (persistence == Persistence::close) text.append("Connection: close\r\n");
  if (persistence == Persistence::keep_old) text.append("Connection: keep-alive\r\n");
  text.append("\r\n");
  if (!has_body || without_body) return wire;
  if (response.body.size() <= max_joined_bytes) {
    text.append(response.body);
  } else {
    wire.body = std::move(response.body);
  }
  wire.parts = std::move(response.parts);
  wire.keeper = std::move(response.keeper);
  return wire;
}

}  // namespace fasttrt::serving
