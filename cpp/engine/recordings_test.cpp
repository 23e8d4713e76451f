#include "engine/recordings.hpp"

#include <doctest/doctest.h>

#include <array>
#include <vector>

namespace fasttrt::engine {
namespace {

using Key = std::array<std::int64_t, 2>;

TEST_CASE("a recording is found by its whole key") {
  Recordings recordings;
  const std::vector<std::int64_t> longer{1, 2, 3};
  recordings.add(Key{1, 2}, {{4, 10}});
  recordings.add(longer, {{8, 10}});
  REQUIRE(recordings.find(Key{1, 2}) != nullptr);
  CHECK(recordings.find(Key{1, 2})->output_shapes == std::vector<nvinfer::Dims>{{4, 10}});
  CHECK(recordings.find(longer)->output_shapes == std::vector<nvinfer::Dims>{{8, 10}});
  CHECK(recordings.find(Key{2, 1}) == nullptr);
  CHECK_FALSE(recordings.find(Key{1, 2})->graph);
}

TEST_CASE("the recording that was not used for longest goes first") {
  constexpr std::int64_t most = 64;
  Recordings recordings;
  for (std::int64_t i = 0; i < most; ++i) recordings.add(Key{i, 0}, {});
  CHECK(recordings.find(Key{0, 0}) != nullptr);  // used again
  recordings.add(Key{most, 0}, {});
  CHECK(recordings.find(Key{0, 0}) != nullptr);
  CHECK(recordings.find(Key{1, 0}) == nullptr);
  for (std::int64_t i = 2; i <= most; ++i) CHECK(recordings.find(Key{i, 0}) != nullptr);
}

TEST_CASE("nothing is found after clear()") {
  Recordings recordings;
  recordings.add(Key{1, 1}, {});
  recordings.clear();
  CHECK(recordings.find(Key{1, 1}) == nullptr);
}

}  // namespace
}  // namespace fasttrt::engine
