#include "serving/grpc/call_head.hpp"

#include <algorithm>

#include "serving/http_text.hpp"

namespace fasttrt::serving::grpc {
namespace {

// That SETTINGS_MAX_HEADER_LIST_SIZE counts for each.
constexpr std::size_t header_overhead = 32;

bool is_grpc_type(std::string_view value) noexcept {
  constexpr std::string_view type = "application/grpc";
  if (!equals_ignoring_case(value.substr(0, type.size()), type)) return false;
  value.remove_prefix(type.size());
  return value.empty() || value.front() == '+' || value.front() == ';';
}

CallHead::Method method_of(std::string_view path) noexcept {
  constexpr std::string_view service = "/inference.GRPCInferenceService/";
  if (!path.starts_with(service)) return CallHead::Method::other;
  path.remove_prefix(service.size());
  if (path == "ModelInfer") return CallHead::Method::infer;
  return path == "ModelStreamInfer" ? CallHead::Method::stream_infer : CallHead::Method::other;
}

// Repeated ones are joined, so that a key that comes twice is none.
void join(std::string& field, std::string_view value) {
  if (!field.empty()) field += ", ";
  field += value;
}

}  // namespace

std::optional<std::chrono::nanoseconds> read_timeout(std::string_view text) noexcept {
  using std::chrono::nanoseconds;
  constexpr std::size_t max_digits = 8;
  if (text.size() < 2 || text.size() > max_digits + 1) return std::nullopt;
  const auto number = to_number(text.substr(0, text.size() - 1));
  if (!number) return std::nullopt;
  const auto count = static_cast<std::int64_t>(*number);
  switch (text.back()) {
    case 'H': return std::chrono::hours(std::min<std::int64_t>(count, 1'000'000));
    case 'M': return std::chrono::minutes(count);
    case 'S': return std::chrono::seconds(count);
    case 'm': return std::chrono::milliseconds(count);
    case 'u': return std::chrono::microseconds(count);
    case 'n': return nanoseconds(count);
    default: return std::nullopt;
  }
}

void CallHead::add(std::string_view name, std::string_view value) {
  bytes += name.size() + value.size() + header_overhead;
  if (name == ":path") {
    path = value;
    method = method_of(value);
  } else if (name == ":method") {
    is_post = value == "POST";
  } else if (name == "content-type") {
    is_grpc = is_grpc_type(value);
  } else if (name == "grpc-timeout") {
    timeout = read_timeout(value);
    is_timeout_valid = timeout.has_value();
  } else if (name == "grpc-encoding") {
    encoding = value;
  } else if (name == "authorization") {
    join(authorization, value);
  } else if (name == "x-api-key") {
    join(api_key, value);
  } else if (name == "triton_grpc_error") {
    wants_status = equals_ignoring_case(value, "true");
  }
}

std::vector<std::pair<std::string, std::string>> CallHead::headers() const {
  std::vector<std::pair<std::string, std::string>> headers;
  if (!authorization.empty()) headers.emplace_back("authorization", authorization);
  if (!api_key.empty()) headers.emplace_back("x-api-key", api_key);
  if (wants_status) headers.emplace_back("triton_grpc_error", "true");
  return headers;
}

}  // namespace fasttrt::serving::grpc
