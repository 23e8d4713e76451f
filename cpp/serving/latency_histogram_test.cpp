#include "serving/latency_histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace fasttrt::serving {
namespace {

using std::chrono::nanoseconds;

std::size_t bucket_of(std::int64_t time) {
  LatencyHistogram histogram;
  histogram.add(nanoseconds(time));
  const auto counts = histogram.counts();
  const auto found = std::ranges::find(counts, 1U);
  REQUIRE(found != counts.end());
  REQUIRE(std::ranges::count(counts, 0U) + 1 == LatencyHistogram::bucket_count);
  return static_cast<std::size_t>(found - counts.begin());
}

TEST_CASE("a histogram's buckets are a quarter of an octave, from 16 us to 69 s") {
  const auto bounds = LatencyHistogram::bounds_ns();
  REQUIRE(bounds.size() == LatencyHistogram::bucket_count - 1);
  CHECK(bounds.front() == 1 << 14);
  CHECK(bounds.back() == std::int64_t{1} << 36);
  CHECK(bounds[1] == 20480);
  for (std::size_t i = 1; i < bounds.size(); ++i) {
    CHECK(bounds[i] > bounds[i - 1]);
    CHECK(bounds[i] * 4 <= bounds[i - 1] * 5);
  }
}

TEST_CASE("a time counts in the first bucket whose bound is not below it") {
  const auto bounds = LatencyHistogram::bounds_ns();
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    CHECK(bucket_of(bounds[i]) == i);
    CHECK(bucket_of(bounds[i] + 1) == i + 1);
  }
  std::mt19937_64 random(17);
  for (int i = 0; i < 200; ++i) {
    const auto time = static_cast<std::int64_t>(random() >> (random() % 40 + 24));
    const auto expected = std::ranges::lower_bound(bounds, time) - bounds.begin();
    CHECK(bucket_of(time) == static_cast<std::size_t>(expected));
  }
  CHECK(bucket_of(std::numeric_limits<std::int64_t>::max()) == LatencyHistogram::bucket_count - 1);
  CHECK(bucket_of(0) == 0);
  CHECK(bucket_of(-5) == 0);
}

TEST_CASE("a histogram counts every time") {
  LatencyHistogram histogram;
  for (int i = 0; i < 3; ++i) histogram.add(nanoseconds(20'000));
  histogram.add(nanoseconds(20'481));
  const auto counts = histogram.counts();
  CHECK(counts[1] == 3);
  CHECK(counts[2] == 1);
}

}  // namespace
}  // namespace fasttrt::serving
