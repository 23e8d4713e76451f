// How long requests took, counted in buckets.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrt::serving {

// The buckets are fixed, four to each power of two from 16 us to 69 s, so that percentiles are
// right within a quarter, and histograms can be added and subtracted. Counting takes one atomic
// addition.
class LatencyHistogram {
 public:
  using Duration = std::chrono::nanoseconds;

  static constexpr std::size_t bucket_count = 90;
  // The longest time of each bucket but the last, which has no limit.
  [[nodiscard]] static std::vector<std::int64_t> bounds_ns();

  void add(Duration taken) noexcept;
  // Of each bucket alone, in ascending order.
  [[nodiscard]] std::vector<std::uint64_t> counts() const;

 private:
  std::array<std::atomic<std::uint64_t>, bucket_count> counts_{};
};

}  // namespace fasttrt::serving
