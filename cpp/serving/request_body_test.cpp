#include "serving/request_body.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

namespace fasttrt::serving {
namespace {

void append(RequestBody& body, std::string_view text) {
  REQUIRE(body.room().size() >= text.size());
  std::memcpy(body.room().data(), text.data(), text.size());
  body.commit(text.size());
}

TEST_CASE("What follows the JSON lies where arrays are best read, also once it has grown") {
  const auto budget = std::make_shared<MemoryBudget>(std::size_t{1} << 20);
  for (const auto json : std::initializer_list<std::size_t>{0, 1, 63, 64, 65, 130}) {
    RequestBody body(budget, nullptr, json);
    REQUIRE(body.reserve(json + 10));
    append(body, std::string(json, 'j') + "0123456789");
    REQUIRE(body.reserve(10'000));
    append(body, "abc");
    CHECK(body.bytes() == std::string(json, 'j') + "0123456789abc");
    CHECK(reinterpret_cast<std::uintptr_t>(body.bytes().data() + json) % 64 == 0);
  }
  CHECK(budget->left() == std::size_t{1} << 20);
}

TEST_CASE("Bodies take their memory from one budget, and give it back") {
  const auto budget = std::make_shared<MemoryBudget>(1000);
  RequestBody first(budget, nullptr, 0);
  REQUIRE(first.reserve(600));
  RequestBody second(budget, nullptr, 0);
  CHECK(!second.reserve(500));
  CHECK(second.room().empty());
  REQUIRE(second.reserve(400));
  CHECK(budget->left() == 0);
  auto moved = std::move(first);
  second = {};
  CHECK(budget->left() == 400);
  moved = {};
  CHECK(budget->left() == 1000);
}

}  // namespace
}  // namespace fasttrt::serving
