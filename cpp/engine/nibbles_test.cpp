#include "engine/nibbles.hpp"

#include <doctest/doctest.h>

#include <random>

namespace fasttrt::engine {
namespace {

TEST_CASE("nibbles survive packing, odd counts and signs included") {
  std::mt19937 random(std::random_device{}());
  for (const std::size_t count : {0U, 1U, 2U, 7U, 64U, 1001U}) {
    std::vector<std::byte> elements(count);
    for (auto& element : elements) {  // int4 as ml_dtypes keeps it: -8 to 7 in a byte
      element = static_cast<std::byte>(static_cast<int>(random() % 16) - 8);
    }
    const auto packed = pack_nibbles(elements);
    CHECK(packed.size() == (count + 1) / 2);
    std::vector<std::byte> back(count);
    unpack_nibbles(packed, back, true);
    CHECK(back == elements);
    unpack_nibbles(packed, back, false);
    for (std::size_t i = 0; i < count; ++i) CHECK(back[i] == (elements[i] & std::byte{0x0F}));
  }
}

TEST_CASE("the first element is the low half") {
  const std::vector<std::byte> elements{std::byte{0x1}, std::byte{0x2}, std::byte{0x3}};
  const auto packed = pack_nibbles(elements);
  CHECK(packed[0] == std::byte{0x21});
  CHECK(packed[1] == std::byte{0x03});
}

}  // namespace
}  // namespace fasttrt::engine
