// The characters and words that HTTP/1.1 is made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fasttrt::serving {

// What a request is refused with; status 0: nothing.
struct HttpError {
  int status = 0;
  std::string_view reason;
};

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Of a method, or of a header's name.
[[nodiscard]] constexpr bool is_token_character(char c) noexcept {
  if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

[[nodiscard]] inline bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, is_token_character);
}

// Of a header's value: no control character but the tab.
[[nodiscard]] constexpr bool is_value_character(char c) noexcept {
  const auto code = static_cast<unsigned char>(c);
  return (code >= 0x20 && code != 0x7f) || c == '\t';
}

[[nodiscard]] inline bool is_value(std::string_view text) noexcept {
  return std::ranges::all_of(text, is_value_character);
}

[[nodiscard]] constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Without regard to the case of ASCII letters.
[[nodiscard]] inline bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

// Without spaces and tabs at both ends.
[[nodiscard]] constexpr std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Calls function(item) for each item of a comma-separated list.
template <class Function>
void for_each_item(std::string_view list, const Function& function) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (const auto item = trimmed(list.substr(0, comma)); !item.empty()) function(item);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// Digits alone; none if it is anything else, or beyond 18 of them.
[[nodiscard]] constexpr std::optional<std::uint64_t> to_number(std::string_view text) noexcept {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return number;
}

}  // namespace fasttrt::serving
