#include "serving/json_reader.hpp"

#include <algorithm>

#include "serving/http_text.hpp"

namespace fasttrt::serving {
namespace {

bool is_plain(char c) noexcept { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

}  // namespace

void JsonReader::skip_space() noexcept {
  const auto end = text_.find_first_not_of(" \t\r\n");
  text_.remove_prefix(std::min(end, text_.size()));
}

bool JsonReader::take(char c) noexcept {
  skip_space();
  if (failed_ || text_.empty() || text_.front() != c) return false;
  text_.remove_prefix(1);
  return true;
}

bool JsonReader::begin(char bracket) noexcept {
  if (depth_ == max_depth || !take(bracket)) return fail();
  has_items_.at(depth_++) = false;
  return true;
}

bool JsonReader::next(char end) noexcept {
  if (failed_ || depth_ == 0) return fail();
  if (take(end)) {
    --depth_;
    return false;
  }
  auto& has_items = has_items_.at(depth_ - 1);
  if (has_items && !take(',')) return fail();
  has_items = true;
  return true;
}

bool JsonReader::next_key(std::string_view& key) noexcept {
  if (!next('}') || !read(key)) return false;
  return take(':') || fail();
}

bool JsonReader::read(std::string_view& string) noexcept {
  if (!take('"')) return fail();
  const auto* const end = std::ranges::find_if_not(text_, is_plain);
  if (end == text_.end() || *end != '"') return fail();
  string = {text_.begin(), end};
  text_.remove_prefix(string.size() + 1);
  return true;
}

bool JsonReader::read(bool& value) noexcept {
  skip_space();
  for (const bool candidate : {true, false}) {
    const std::string_view word = candidate ? "true" : "false";
    if (failed_ || !text_.starts_with(word)) continue;
    text_.remove_prefix(word.size());
    value = candidate;
    return true;
  }
  return fail();
}

bool JsonReader::read(std::uint64_t& number) noexcept {
  skip_space();
  const auto digits =
      text_.substr(0, std::min(text_.find_first_not_of("0123456789"), text_.size()));
  const auto found = to_number(digits);
  const bool is_padded = digits.size() > 1 && digits.front() == '0';
  if (failed_ || !found || is_padded) return fail();
  text_.remove_prefix(digits.size());
  number = *found;
  return true;
}

bool JsonReader::finish() noexcept {
  skip_space();
  return !failed_ && depth_ == 0 && text_.empty();
}

}  // namespace fasttrt::serving
