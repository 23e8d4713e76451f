#include "engine/io_tensor.hpp"

#include <doctest/doctest.h>

#include <array>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

IoTensor input(const std::string& name, std::vector<ProfileRange> profiles) {
  IoTensor tensor;
  tensor.name = name;
  tensor.profiles = std::move(profiles);
  return tensor;
}

ProfileRange range(Dims min, Dims opt, Dims max) { return {min, opt, max, {}, {}, {}}; }

std::string message(const std::vector<IoTensor>& inputs, const std::vector<InputArray>& arrays) {
  try {
    (void)choose_profile(inputs, arrays);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("the tightest profile that fits every input is chosen") {
  const std::vector inputs{
      input("x", {range({1, 3}, {16, 3}, {64, 3}), range({1, 3}, {2, 3}, {4, 3}),
                  range({65, 3}, {80, 3}, {128, 3})}),
      input("mask", {range({1}, {1}, {64}), range({1}, {1}, {4}), range({1}, {1}, {128})})};
  const auto choose = [&](std::int64_t batch, std::int64_t mask) {
    const std::vector<InputArray> arrays{{nullptr, {batch, 3}}, {nullptr, {mask}}};
    return choose_profile(inputs, arrays);
  };
  CHECK(choose(1, 1) == 1);
  CHECK(choose(4, 4) == 1);
  CHECK(choose(5, 4) == 0);
  CHECK(choose(4, 5) == 0);  // the second input does not fit the tight one
  CHECK(choose(65, 1) == 2);
  CHECK(choose(128, 128) == 2);
}

TEST_CASE("of profiles with the same maximum, the one for fewer shapes is chosen") {
  const std::vector inputs{
      input("x", {range({1, 3}, {8, 3}, {32, 3}), range({32, 3}, {32, 3}, {32, 3}),
                  range({8, 3}, {8, 3}, {8, 3}), range({16, 3}, {24, 3}, {32, 3})}),
      input("fixed", std::vector(4, range({5}, {5}, {5})))};
  const auto choose = [&](std::int64_t batch) {
    const std::vector<InputArray> arrays{{nullptr, {batch, 3}}, {nullptr, {5}}};
    return choose_profile(inputs, arrays);
  };
  CHECK(choose(32) == 1);
  CHECK(choose(8) == 2);
  CHECK(choose(20) == 3);
  CHECK(choose(7) == 0);
}

TEST_CASE("of shape tensors with the same maxima, the narrower range is chosen") {
  auto tensor = input("size", {{{1}, {1}, {1}, {1}, {4}, {8}}, {{1}, {1}, {1}, {8}, {8}, {8}}});
  tensor.on_host = true;
  tensor.dtype = DataType::int64;
  std::int64_t value = 8;
  CHECK(choose_profile(std::vector{tensor}, std::vector<InputArray>{{&value, {1}}}) == 1);
  value = 7;
  CHECK(choose_profile(std::vector{tensor}, std::vector<InputArray>{{&value, {1}}}) == 0);
}

TEST_CASE("an input is dynamic where its profiles differ, whichever comes first") {
  const auto open = [](const Dims& reported, std::vector<ProfileRange> profiles) {
    auto tensor = input("x", std::move(profiles));
    tensor.shape = reported;
    return open_shape(tensor);
  };
  const auto fixed = range({2, 3}, {2, 3}, {2, 3});
  const auto wide = range({1, 3}, {4, 3}, {8, 3});
  CHECK(open({2, 3}, {fixed, wide}) == Dims{-1, 3});
  CHECK(open({-1, 3}, {wide, fixed}) == Dims{-1, 3});
  CHECK(open({2, 3}, {fixed, range({4, 3}, {4, 3}, {4, 3})}) == Dims{-1, 3});
  CHECK(open({2, 3}, {fixed}) == Dims{2, 3});
  CHECK(open({-1, 3}, {fixed}) == Dims{-1, 3});  // as the network has it
}

TEST_CASE("a refusal does not list sizes that the range covers") {
  const std::vector inputs{
      input("x", {range({1, 3}, {8, 3}, {32, 3}), range({1, 3}, {1, 3}, {1, 3}),
                  range({32, 3}, {32, 3}, {32, 3}), range({64, 3}, {64, 3}, {64, 3})})};
  CHECK(message(inputs, {{nullptr, {33, 3}}}) ==
        "x: expected shape min (1, 3), opt (8, 3), max (32, 3); or (64, 3), got (33, 3)");
}

TEST_CASE("a refusal names the tensor, what is taken and what came") {
  const std::vector inputs{input("x", {range({1, 3}, {8, 3}, {32, 3})})};
  CHECK(message(inputs, {{nullptr, {33, 3}}}) ==
        "x: expected shape min (1, 3), opt (8, 3), max (32, 3), got (33, 3)");
  CHECK(message(inputs, {{nullptr, {4, 2}}}).find("got (4, 2)") != std::string::npos);
  CHECK(message(inputs, {{nullptr, {3}}}).find("got (3,)") != std::string::npos);
  CHECK(message(inputs, {{nullptr, Dims(0)}}).find("got ()") != std::string::npos);
  CHECK(message(inputs, {{nullptr, {0, 3}}}).find("got (0, 3)") != std::string::npos);
}

TEST_CASE("inputs that fit different profiles only are refused together") {
  const std::vector inputs{input("a", {range({1}, {1}, {1}), range({2}, {2}, {2})}),
                           input("b", {range({1}, {1}, {1}), range({2}, {2}, {2})})};
  const auto text = message(inputs, {{nullptr, {1}}, {nullptr, {2}}});
  CHECK(text.find("no single profile") != std::string::npos);
  CHECK(text.find("a (1,)") != std::string::npos);
  CHECK(text.find("b (2,)") != std::string::npos);
}

TEST_CASE("a shape tensor's values count, in either integer type") {
  for (const auto dtype : {DataType::int32, DataType::int64}) {
    auto tensor = input("size", {{{2}, {2}, {2}, {1, 1}, {4, 4}, {8, 16}}});
    tensor.on_host = true;
    tensor.dtype = dtype;
    const auto arrays = [&](auto& values) { return std::vector<InputArray>{{values.data(), {2}}}; };
    std::array<std::int32_t, 2> narrow{8, 17};
    std::array<std::int64_t, 2> wide{8, 17};
    const auto refused = dtype == DataType::int32 ? arrays(narrow) : arrays(wide);
    CHECK(message({tensor}, refused) ==
          "size: expected shape values min [1, 1], opt [4, 4], max [8, 16], got values [8, 17]");
    narrow[1] = 16;
    wide[1] = 16;
    CHECK(choose_profile(std::vector{tensor}, refused) == 0);
  }
}

TEST_CASE("no inputs fit the only profile") { CHECK(choose_profile({}, {}) == 0); }

}  // namespace
}  // namespace fasttrt::engine
