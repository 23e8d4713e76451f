#include "serving/latency_histogram.hpp"

#include <algorithm>
#include <bit>

namespace fasttrt::serving {
namespace {

constexpr int parts_log2 = 2;  // of an octave
constexpr std::size_t parts = std::size_t{1} << parts_log2;
constexpr int first_log2 = 14;  // of the first bucket's bound, in nanoseconds
constexpr std::size_t octaves = (LatencyHistogram::bucket_count - 2) / parts;
static_assert(octaves * parts + 2 == LatencyHistogram::bucket_count);

std::size_t bucket_of(std::int64_t nanoseconds) noexcept {
  // A bound belongs to the bucket below it.
  const auto time = static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 1)) - 1;
  if (time >> first_log2 == 0) return 0;
  const int octave = static_cast<int>(std::bit_width(time)) - 1;  // long in older libraries
  const auto part = static_cast<std::size_t>(time >> (octave - parts_log2)) % parts;
  const auto bucket = static_cast<std::size_t>(octave - first_log2) * parts + part + 1;
  return std::min(bucket, LatencyHistogram::bucket_count - 1);
}

}  // namespace

std::vector<std::int64_t> LatencyHistogram::bounds_ns() {
  constexpr std::int64_t first = std::int64_t{1} << first_log2;
  std::vector<std::int64_t> bounds{first};
  for (std::size_t octave = 0; octave < octaves; ++octave) {
    for (std::size_t part = 1; part <= parts; ++part) {
      bounds.push_back((first << octave) / static_cast<std::int64_t>(parts) *
                       static_cast<std::int64_t>(parts + part));
    }
  }
  return bounds;
}

void LatencyHistogram::add(Duration taken) noexcept {
  counts_[bucket_of(taken.count())].fetch_add(1, std::memory_order_relaxed);
}

std::vector<std::uint64_t> LatencyHistogram::counts() const {
  std::vector<std::uint64_t> counts;
  counts.reserve(counts_.size());
  for (const auto& count : counts_) counts.push_back(count.load(std::memory_order_relaxed));
  return counts;
}

}  // namespace fasttrt::serving
