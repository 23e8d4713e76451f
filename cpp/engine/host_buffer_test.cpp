#include "engine/host_buffer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <utility>

namespace fasttrt::engine {
namespace {

TEST_CASE("ordinary memory is aligned and never null") {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
    const HostBuffer buffer(bytes);
    REQUIRE(buffer.data() != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    std::memset(buffer.data(), 1, bytes);
    CHECK_FALSE(buffer.is_pinned());
  }
}

TEST_CASE("a buffer moves with its contents") {
  HostBuffer first(4);
  std::memcpy(first.data(), "abc", 4);
  void* const data = first.data();
  HostBuffer second(std::move(first));
  CHECK(second.data() == data);
  HostBuffer third(100);
  third = std::move(second);
  CHECK(third.data() == data);
  CHECK(std::memcmp(third.data(), "abc", 4) == 0);
  CHECK(HostBuffer().data() == nullptr);
}

}  // namespace
}  // namespace fasttrt::engine
