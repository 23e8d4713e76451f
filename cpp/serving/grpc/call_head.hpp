// The headers of a call, as far as they matter.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fasttrt::serving::grpc {

// 8 digits at most, and a unit, as in "100m"; none for anything else.
[[nodiscard]] std::optional<std::chrono::nanoseconds> read_timeout(std::string_view text) noexcept;

struct CallHead {
  enum class Method : std::uint8_t { infer, stream_infer, other };

  std::string path;
  Method method = Method::other;
  bool is_post = false;
  bool is_grpc = false;  // the content type
  bool is_timeout_valid = true;
  std::optional<std::chrono::nanoseconds> timeout;
  std::string encoding;  // of compressed messages; empty: none
  std::string authorization;
  std::string api_key;
  bool wants_status = false;  // a failure of a stream's request ends it: triton_grpc_error
  std::size_t bytes = 0;      // of all headers

  void add(std::string_view name, std::string_view value);
  // Those that the control plane needs.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> headers() const;
};

}  // namespace fasttrt::serving::grpc
