#include "serving/shared_memory_table.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {
namespace {

// A client's shared-memory object.
class Object {
 public:
  explicit Object(std::size_t bytes)
      : key("/fasttrt-test-" + std::to_string(::getpid())),
        descriptor_(::shm_open(key.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600)) {
    REQUIRE(descriptor_);
    resize(bytes);
  }
  ~Object() { ::shm_unlink(key.c_str()); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  void resize(std::size_t bytes) const {
    REQUIRE(::ftruncate(descriptor_.get(), static_cast<off_t>(bytes)) == 0);
  }
  void write(std::size_t offset, const std::string& bytes) const {
    REQUIRE(::pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes.size()));
  }
  [[nodiscard]] std::string read() const {
    std::string bytes(64, '\0');
    bytes.resize(static_cast<std::size_t>(::pread(descriptor_.get(), bytes.data(), 64, 0)));
    return bytes;
  }

  const std::string key;

 private:
  const FileDescriptor descriptor_;
};

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in read()
std::string read(const SharedMemoryRegion& region, std::size_t offset, std::size_t bytes) {
  std::string found(bytes, '?');
  region.read(offset, found);
  return found;
}

TEST_CASE("A region is a part of an object") {
  const Object object(16);
  object.write(0, "0123456789abcdef");
  const SystemMemoryRegion region(object.key, 4, 8);
  CHECK(region.size() == 8);
  CHECK(read(region, 2, 6) == "6789ab");
  CHECK(read(region, 8, 0).empty());
  region.write(1, "xyz");
  CHECK(object.read() == "01234xyz89abcdef");
  CHECK(region.has(8, 0));
  CHECK(region.has(0, 8));
  CHECK(!region.has(9, 0));
  CHECK(!region.has(1, 8));
  CHECK(!region.has(1, std::numeric_limits<std::size_t>::max()));
  CHECK(!region.has(std::numeric_limits<std::size_t>::max(), 1));
}

TEST_CASE("An object must be there, and as large as was said") {
  const Object object(16);
  const auto most = std::numeric_limits<std::size_t>::max();
  CHECK_NOTHROW(SystemMemoryRegion(object.key.substr(1), 0, 16));
  CHECK_THROWS_AS(SystemMemoryRegion(object.key, 0, 17), InputError);
  CHECK_THROWS_AS(SystemMemoryRegion(object.key, 17, 1), InputError);
  CHECK_THROWS_AS(SystemMemoryRegion(object.key, most, 2), InputError);
  CHECK_THROWS_AS(SystemMemoryRegion(object.key, 2, most), InputError);
  CHECK_THROWS_AS(SystemMemoryRegion(object.key, 0, 0), InputError);
  for (const auto* key :
       {"", "/", ".", "..", "/..", "/../passwd", "a/b", "/fasttrt-no-such-object"}) {
    CAPTURE(key);
    CHECK_THROWS_AS(SystemMemoryRegion(key, 0, 1), InputError);
  }
  CHECK_THROWS_AS(SystemMemoryRegion(std::string("a\0b", 3), 0, 1), InputError);
  CHECK_THROWS_AS(SystemMemoryRegion(std::string(300, 'a'), 0, 1), InputError);
}

TEST_CASE("An object that shrinks is no reason to die") {
  const Object object(16);
  object.write(0, "0123456789abcdef");
  const SystemMemoryRegion region(object.key, 0, 16);
  object.resize(8);
  CHECK(read(region, 0, 8) == "01234567");
  CHECK_THROWS_AS(read(region, 4, 8), InputError);
  CHECK_THROWS_AS(region.write(4, "01234567"), InputError);
  CHECK(object.read() == "01234567");  // nor does it grow
  object.resize(0);
  CHECK_THROWS_AS(read(region, 0, 1), InputError);
  CHECK_THROWS_AS(region.write(0, "0"), InputError);
  object.resize(16);
  CHECK(read(region, 0, 2) == std::string(2, '\0'));
}

TEST_CASE("A table has each name once") {
  const Object object(64);
  SharedMemoryTable table(40);
  const auto region = std::make_shared<SystemMemoryRegion>(object.key, 0, 64);
  CHECK(table.add("a", region));
  CHECK(!table.add("a", region));
  CHECK(table.add("b", region));
  CHECK(table.find("a") == region);
  CHECK(table.find("c") == nullptr);
  table.remove("a");
  table.remove("c");
  CHECK(table.find("a") == nullptr);
  REQUIRE(table.regions().size() == 1);
  CHECK(table.regions().front().first == "b");
}

TEST_CASE("Copies have a limit, which they give back") {
  const Object object(64);
  object.write(0, "abc");
  const SharedMemoryTable table(40);
  const SystemMemoryRegion region(object.key, 0, 64);
  for (int i = 0; i < 2; ++i) {
    const auto copy = table.copy(region, 1, 40, nullptr);
    REQUIRE(copy);
    if (copy) CHECK(copy->bytes().substr(0, 3) == std::string("bc\0", 3));
    CHECK(!table.copy(region, 0, 1, nullptr));
  }
  CHECK(!table.copy(region, 0, 41, nullptr));
  object.resize(1);
  CHECK_THROWS_AS(std::ignore = table.copy(region, 0, 40, nullptr), InputError);
  object.resize(64);
  CHECK(table.copy(region, 0, 40, nullptr));
}

}  // namespace
}  // namespace fasttrt::serving
