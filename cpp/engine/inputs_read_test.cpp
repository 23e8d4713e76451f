#include "engine/inputs_read.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

namespace fasttrt::engine {
namespace {

using std::chrono::milliseconds;

TEST_CASE("what is not set is waited for as long as was asked") {
  InputsRead read;
  CHECK_FALSE(read.wait_for(milliseconds(0)));
  CHECK_FALSE(read.wait_for(milliseconds(1)));
}

TEST_CASE("what is set stays so, for all who wait") {
  InputsRead read;
  bool seen = false;
  std::thread other([&] { seen = read.wait_for(std::chrono::minutes(1)); });
  read.set();
  read.set();
  other.join();
  CHECK(seen);
  CHECK(read.wait_for(milliseconds(0)));
}

}  // namespace
}  // namespace fasttrt::engine
