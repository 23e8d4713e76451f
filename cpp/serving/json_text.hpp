// Writes strings of JSON.
#pragma once

#include <string>
#include <string_view>

namespace fasttrt::serving {

// With its quotation marks; UTF-8 stays as it is.
[[nodiscard]] std::string json_string(std::string_view text);

// {"error": message}
[[nodiscard]] std::string json_error(std::string_view message);

}  // namespace fasttrt::serving
