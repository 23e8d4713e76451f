#include "common/deep_thread.hpp"

#include <doctest/doctest.h>

#include <array>

namespace fasttrt {
namespace {

// Depth of a recursion that takes a KiB a level; what is read keeps the compiler from folding it.
int descend(int levels) {                // NOLINT(misc-no-recursion): what is tested
  std::array<volatile char, 1024> room;  // NOLINT(*-member-init): its size counts alone
  room[0] = static_cast<char>(levels);
  return levels == 0 ? room[0] : 1 + descend(levels - 1) + 0 * room[0];
}

TEST_CASE("there is room for deep recursion") {
  int depth = 0;
  {
    const DeepThread thread([&] { depth = descend(100'000); });
  }
  CHECK(depth == 100'000);
}

}  // namespace
}  // namespace fasttrt
