#include "engine/shared_kernels.hpp"

#include <doctest/doctest.h>

#include <string>

namespace fasttrt::engine {
namespace {

TEST_CASE("engines with one key have the same kernels, one after the other as well") {
  const auto first = SharedKernels::get("shared by two");
  CHECK(SharedKernels::get("shared by two") == first);
  CHECK(SharedKernels::get("of another plan") != first);
  CHECK(SharedKernels::get("") != SharedKernels::get(""));
  SharedKernels::get("kept")->has_news = false;
  CHECK_FALSE(SharedKernels::get("kept")->has_news);
}

TEST_CASE("what no engine has used for longest goes first; what one uses stays") {
  const auto used = SharedKernels::get("in use");
  SharedKernels::get("oldest")->has_news = false;
  SharedKernels::get("latest")->has_news = false;
  for (int i = 0; i < 2000; ++i) {
    (void)SharedKernels::get("one of many " + std::to_string(i));
    CHECK_FALSE(SharedKernels::get("latest")->has_news);  // which makes it the latest
  }
  CHECK(SharedKernels::get("oldest")->has_news);
  CHECK(SharedKernels::get("in use") == used);
}

}  // namespace
}  // namespace fasttrt::engine
