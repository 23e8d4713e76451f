#include "engine/output_shapes.hpp"

#include <doctest/doctest.h>

namespace fasttrt::engine {
namespace {

ProfileRange range(Dims min, Dims max) { return {min, min, max, {}, {}, {}}; }
ProfileRange fixed(const Dims& shape) { return range(shape, shape); }

// An engine of x [batch, width] and y [batch, width / 2, 4], which reports its first profile.
struct Outcome {
  Dims shape;
  std::vector<std::int64_t> asked;  // batches
};

Outcome opened(std::vector<ProfileRange> profiles) {
  const auto shape_of = [](const Dims& x) { return Dims{x[0], x[1] / 2, 4}; };
  IoTensor x{"x", DataType::float32, {}, false, std::move(profiles)};
  std::vector<IoTensor> outputs(1);
  outputs[0].shape = shape_of(x.profiles[0].min);
  const auto last = shape_of(x.profiles[0].max);
  for (int axis = 0; axis < 3; ++axis) {
    if (outputs[0].shape[axis] != last[axis]) outputs[0].shape[axis] = -1;
  }
  Outcome outcome;
  open_output_shapes(std::vector{x}, outputs, [&](std::span<const Dims> shapes) {
    outcome.asked.push_back(shapes[0][0]);
    return std::vector{shape_of(shapes[0])};
  });
  outcome.shape = outputs[0].shape;
  return outcome;
}

TEST_CASE("outputs are dynamic where profiles differ, whichever comes first") {
  const auto wide = range({1, 8}, {32, 8});
  CHECK(opened({fixed({1, 8}), wide}).shape == Dims{-1, 4, 4});
  CHECK(opened({fixed({32, 8}), wide}).shape == Dims{-1, 4, 4});
  CHECK(opened({fixed({8, 8}), fixed({8, 16})}).shape == Dims{8, -1, 4});
  CHECK(opened({fixed({8, 8}), fixed({4, 16})}).shape == Dims{-1, -1, 4});
  CHECK(opened({fixed({8, 8}), fixed({8, 8})}).shape == Dims{8, 4, 4});
}

TEST_CASE("nothing is asked for sizes within those known") {
  CHECK(
      opened({range({1, 8}, {32, 8}), fixed({1, 8}), fixed({8, 8}), fixed({32, 8})}).asked.empty());
  CHECK(opened({range({1, 8}, {32, 8})}).asked.empty());
  CHECK(opened({fixed({1, 8}), fixed({2, 8}), fixed({4, 8}), range({1, 8}, {32, 8})}).asked ==
        std::vector<std::int64_t>{32});
  CHECK(opened({fixed({4, 8}), fixed({2, 8}), range({1, 8}, {32, 8})}).asked ==
        std::vector<std::int64_t>{32, 1});
}

TEST_CASE("a dimension that depends on the data stays so") {
  std::vector<IoTensor> outputs(1);
  outputs[0].shape = {-1, 4};
  IoTensor x;
  x.profiles = {fixed({2}), fixed({3})};
  open_output_shapes(std::vector{x}, outputs, [](auto) { return std::vector<Dims>{{-1, 4}}; });
  CHECK(outputs[0].shape == Dims{-1, 4});
}

}  // namespace
}  // namespace fasttrt::engine
