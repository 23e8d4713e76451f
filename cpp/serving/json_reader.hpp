// Reads JSON text of a known form, value by value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fasttrt::serving {

// For text that is plain: strings of ASCII characters without escapes, whole numbers. Each function
// reads what it is called for, and nothing if the text has something else there: then, and from
// then on, it returns false.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) noexcept : text_(text) {}

  [[nodiscard]] bool begin_object() noexcept { return begin('{'); }
  // The next key of the object. False at its end, too: see failed().
  [[nodiscard]] bool next_key(std::string_view& key) noexcept;
  [[nodiscard]] bool begin_array() noexcept { return begin('['); }
  // Whether the array has another value. False at its end, too: see failed().
  [[nodiscard]] bool next_item() noexcept { return next(']'); }

  [[nodiscard]] bool read(std::string_view& string) noexcept;
  [[nodiscard]] bool read(bool& value) noexcept;
  [[nodiscard]] bool read(std::uint64_t& number) noexcept;  // below 10^18

  // Whether that was all, and nothing failed.
  [[nodiscard]] bool finish() noexcept;
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  static constexpr std::size_t max_depth = 8;

  bool fail() noexcept {
    failed_ = true;
    return false;
  }
  void skip_space() noexcept;
  [[nodiscard]] bool take(char c) noexcept;
  [[nodiscard]] bool begin(char bracket) noexcept;
  [[nodiscard]] bool next(char end) noexcept;

  std::string_view text_;
  std::array<bool, max_depth> has_items_{};
  std::size_t depth_ = 0;
  bool failed_ = false;
};

}  // namespace fasttrt::serving
