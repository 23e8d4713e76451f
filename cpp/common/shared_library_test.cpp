#include "common/shared_library.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "common/error.hpp"

namespace fasttrt {
namespace {

// A file that is no library, gone at the end of the test.
class JunkFile {
 public:
  explicit JunkFile(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / name) {
    std::ofstream(path_) << std::string(1000, 'x');
  }
  ~JunkFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  JunkFile(const JunkFile&) = delete;
  JunkFile& operator=(const JunkFile&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST_SUITE_BEGIN("shared library");

TEST_CASE("a library that is not there is reported with its name") {
  CHECK_THROWS_WITH_AS(SharedLibrary("libfasttrt_missing.so.1"),
                       doctest::Contains("libfasttrt_missing.so.1"), LibraryNotFoundError);
  CHECK_THROWS_WITH_AS(SharedLibrary("/nowhere/libnvinfer.so.10"),
                       doctest::Contains("/nowhere/libnvinfer.so.10"), LibraryNotFoundError);
}

TEST_CASE("a file that is no library is reported with the loader's reason") {
  const JunkFile file("fasttrt_no_library.so");
  CHECK_THROWS_WITH_AS(SharedLibrary{file.path()}, doctest::Contains("invalid ELF header"),
                       LibraryNotFoundError);
}

TEST_CASE("a library tells its path and its own name, and finds what it has") {
  const SharedLibrary libc("libc.so.6");
  CHECK(libc.soname() == "libc.so.6");
  CHECK(libc.path().is_absolute());
  CHECK(std::filesystem::exists(libc.path()));
  auto* const length = libc.find<std::size_t(const char*)>("strlen");
  REQUIRE((length != nullptr));
  CHECK(length("four") == 4);
  CHECK(libc.find("no_such_symbol_in_libc") == nullptr);
}

TEST_CASE("opened by its path, a library is the same") {
  const SharedLibrary by_name("libc.so.6");
  const SharedLibrary by_path(by_name.path().string());
  CHECK(by_path.path() == by_name.path());
  CHECK(by_path.soname() == by_name.soname());
  CHECK(by_path.find("strlen") == by_name.find("strlen"));
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt
