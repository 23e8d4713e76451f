// An answer, and how it is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.hpp"
#include "serving/http_text.hpp"

namespace fasttrt::serving {

// Whom a request was to, for logs: the names of a model and of its version, and the client's id.
struct Subject {
  std::string model;
  std::string version;
  std::string id;
};

struct HttpResponse {
  int status = 200;
  std::string
      headers;  // each "Name: value\r\n"; without those of the connection and Content-Length
  std::string body;
  // What follows in the body, in memory that the request has.
  std::vector<std::string_view> parts;
  engine::RequestRef keeper;
  Subject subject;  // where the control plane answers
};

// Adds a header. Throws InputError for what is none, and for those that are the connection's.
void add_header(HttpResponse& response, std::string_view name, std::string_view value);

// {"error": message}, as the protocol's clients read it.
[[nodiscard]] HttpResponse error_response(int status, std::string_view message);

// Whether the connection goes on after the answer. keep_old: as HTTP/1.0 needs to be told.
enum class Persistence : std::uint8_t { keep, keep_old, close };

// An answer as it is on the wire.
struct WireResponse {
  std::string text;
  std::string body;                     // where it is too large for `text`
  std::vector<std::string_view> parts;  // behind it
  engine::RequestRef keeper;

  [[nodiscard]] std::size_t size() const noexcept;
};

// without_body: the answer to HEAD.
[[nodiscard]] WireResponse to_wire(HttpResponse response, Persistence persistence,
                                   bool without_body);

}  // namespace fasttrt::serving
