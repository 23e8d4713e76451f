#include "engine/context_shapes.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <utility>
#include <vector>

namespace fasttrt::engine {
namespace {

using nvinfer::Dims;
using Told = std::vector<std::pair<std::size_t, Dims>>;

std::vector<InputArray> arrays(const std::vector<Dims>& shapes) {
  std::vector<InputArray> result;
  result.reserve(shapes.size());
  for (const auto& shape : shapes) result.push_back({nullptr, shape, Place::host});
  return result;
}

// What a context is told for these shapes.
Told update(ContextShapes& context, const std::vector<Dims>& shapes) {
  Told told;
  context.update(arrays(shapes),
                 [&](std::size_t i, const Dims& shape) { told.emplace_back(i, shape); });
  return told;
}

TEST_CASE("a context is told what changes, and nothing twice") {
  ContextShapes context(2);
  CHECK(update(context, {{2, 3}, {}}) == Told{{0, {2, 3}}, {1, {}}});
  CHECK(update(context, {{2, 3}, {}}).empty());
  CHECK(update(context, {{2, 3}, {1}}) == Told{{1, {1}}});
  CHECK(context.changes() == 2);
}

TEST_CASE("what a context refused is told again, as is all after forget()") {
  ContextShapes context(2);
  const auto refuse_second = [](std::size_t i, const Dims&) {
    if (i == 1) throw std::runtime_error("refused");
  };
  CHECK_THROWS_AS(context.update(arrays({{4}, {5}}), refuse_second), std::runtime_error);
  CHECK(update(context, {{4}, {5}}) == Told{{1, {5}}});
  context.forget();
  CHECK(update(context, {{4}, {5}}) == Told{{0, {4}}, {1, {5}}});
  CHECK(context.changes() == 3);
}

TEST_CASE("a new context has no shapes") {
  ContextShapes context(1);
  (void)update(context, {{7}});
  context.reset();
  CHECK(context.changes() == 0);
  CHECK(update(context, {{7}}) == Told{{0, {7}}});
}

}  // namespace
}  // namespace fasttrt::engine
