#include "engine/graph_cache.hpp"

#include <doctest/doctest.h>

#include <array>
#include <vector>

namespace fasttrt::engine {
namespace {

using Key = std::array<std::int64_t, 2>;

TEST_CASE("a run is found by its whole key") {
  GraphCache cache;
  const std::vector<std::int64_t> longer{1, 2, 3};
  cache.add(Key{1, 2}, {{4, 10}});
  cache.add(longer, {{8, 10}});
  REQUIRE(cache.find(Key{1, 2}) != nullptr);
  CHECK(cache.find(Key{1, 2})->output_shapes == std::vector<nvinfer::Dims>{{4, 10}});
  CHECK(cache.find(longer)->output_shapes == std::vector<nvinfer::Dims>{{8, 10}});
  CHECK(cache.find(Key{2, 1}) == nullptr);
  CHECK_FALSE(cache.find(Key{1, 2})->graph);
}

TEST_CASE("the run that was not used for longest goes first") {
  constexpr std::int64_t most = 64;
  GraphCache cache;
  for (std::int64_t i = 0; i < most; ++i) cache.add(Key{i, 0}, {});
  CHECK(cache.find(Key{0, 0}) != nullptr);  // used again
  cache.add(Key{most, 0}, {});
  CHECK(cache.find(Key{0, 0}) != nullptr);
  CHECK(cache.find(Key{1, 0}) == nullptr);
  for (std::int64_t i = 2; i <= most; ++i) CHECK(cache.find(Key{i, 0}) != nullptr);
}

TEST_CASE("the runs of one profile are forgotten, those of others are kept") {
  GraphCache cache;
  for (std::int64_t i = 0; i < 3; ++i) {
    cache.add(Key{i, 1}, {});
    cache.add(Key{i, 2}, {});
  }
  cache.forget(1);
  for (std::int64_t i = 0; i < 3; ++i) {
    CHECK((cache.find(Key{i, 1}) != nullptr) == (i != 1));
    CHECK((cache.find(Key{i, 2}) != nullptr) == (i != 1));
  }
}

TEST_CASE("nothing is found after clear()") {
  GraphCache cache;
  cache.add(Key{1, 1}, {});
  cache.clear();
  CHECK(cache.find(Key{1, 1}) == nullptr);
}

}  // namespace
}  // namespace fasttrt::engine
