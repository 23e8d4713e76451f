// A tensor's shape, as the core uses them whatever the library's own layout.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace fasttrt::nvinfer {

inline constexpr int max_rank = 8;

class Dims {
 public:
  static constexpr int unknown_rank = -1;

  Dims() = default;
  // An unknown or impossible rank becomes unknown_rank.
  explicit Dims(int rank) noexcept : rank_(rank >= 0 && rank <= max_rank ? rank : unknown_rank) {}
  // More than max_rank of them are an impossible rank, too.
  Dims(std::initializer_list<std::int64_t> sizes) noexcept : Dims(static_cast<int>(sizes.size())) {
    if (rank_ != unknown_rank) std::ranges::copy(sizes, sizes_.begin());
  }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] std::int64_t& operator[](int axis) noexcept {
    return sizes_[static_cast<std::size_t>(axis)];
  }
  [[nodiscard]] std::int64_t operator[](int axis) const noexcept {
    return sizes_[static_cast<std::size_t>(axis)];
  }
  [[nodiscard]] const std::int64_t* begin() const noexcept { return sizes_.data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept {
    return sizes_.data() + std::max(rank_, 0);
  }

  // True if every dimension is known, so that volume() means something.
  [[nodiscard]] bool known() const noexcept {
    return rank_ >= 0 && std::ranges::all_of(*this, [](std::int64_t e) { return e >= 0; });
  }
  // The number of elements; 1 for a scalar, 0 for an empty tensor. Needs known().
  [[nodiscard]] std::int64_t volume() const noexcept {
    std::int64_t product = 1;
    for (const auto size : *this) product *= size;
    return product;
  }
  // As numpy writes a shape: "(1, 3, 224, 224)", "(5,)", "()".
  [[nodiscard]] std::string str() const;

  friend bool operator==(const Dims& a, const Dims& b) noexcept {
    return a.rank_ == b.rank_ && std::ranges::equal(a, b);
  }
  // Some order, for containers.
  friend bool operator<(const Dims& a, const Dims& b) noexcept {
    return a.rank_ != b.rank_ ? a.rank_ < b.rank_ : std::ranges::lexicographical_compare(a, b);
  }

 private:
  int rank_ = 0;
  std::array<std::int64_t, max_rank> sizes_{};
};

}  // namespace fasttrt::nvinfer
