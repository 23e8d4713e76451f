#include "common/nvtx.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "common/shared_library.hpp"

namespace fasttrt::nvtx {
namespace {

// The library of nvtx_fake.cpp, in one of the ways that ctest runs these tests.
const char* tool_path() { return std::getenv("NVTX_INJECTION64_PATH"); }

TEST_CASE("NVTX: a tool sees nested ranges, of each thread") {
  if (tool_path() == nullptr || std::string(tool_path()).find("missing") != std::string::npos)
    return;
  CHECK(is_recording());
  {
    const Range outer("outer");
    std::string name = "inner 1";
    const Range inner(name.c_str());
    name = "changed";
    std::thread([] { const Range other("another thread's"); }).join();
  }
  const SharedLibrary tool(tool_path());
  auto* const lines = tool.find<const char*()>("fasttrt_test_nvtx_lines");
  REQUIRE((lines != nullptr));
  CHECK(std::string(lines()) ==
        "push fasttrt outer\npush fasttrt inner 1\npush fasttrt another thread's\npop fasttrt\n"
        "pop fasttrt\npop fasttrt\n");
}

TEST_CASE("NVTX: without a tool, or one that cannot be loaded, ranges do nothing") {
  if (tool_path() != nullptr && std::string(tool_path()).find("missing") == std::string::npos)
    return;
  CHECK_FALSE(is_recording());
  const Range range("nobody's");
}

}  // namespace
}  // namespace fasttrt::nvtx
