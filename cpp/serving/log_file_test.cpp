#include "serving/log_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "serving/background_writer.hpp"

namespace fasttrt::serving {
namespace {

class Folder {
 public:
  Folder() {
    auto name = std::filesystem::temp_directory_path() / "fasttrt-XXXXXX";
    std::string text = name.string();
    REQUIRE(::mkdtemp(text.data()) != nullptr);
    path = text;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path path;
};

TEST_CASE("A pipe that nobody reads keeps no one waiting for long") {
  const Folder folder;
  const auto path = (folder.path / "pipe").string();
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  LogFile log(path, "{");
  CHECK(log.append("{}\n"));
  // NOLINTNEXTLINE(*-vararg)
  const FileDescriptor reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK));
  std::array<char, 16> text{};
  CHECK(::read(reader.get(), text.data(), text.size()) == 3);
  const std::string much(std::size_t{1} << 20, '{');
  CHECK(!log.append(much));
  while (::read(reader.get(), text.data(), text.size()) > 0) continue;
  CHECK(log.append("{}\n"));
  CHECK(::read(reader.get(), text.data(), text.size()) == 4);  // it begins on a line of its own
}

TEST_CASE("What is handed over is written in order, and counted where it is not") {
  std::string written;
  std::uint64_t lost = 0;
  {
    BackgroundWriter writer([&](std::string_view text, std::uint64_t dropped) {
      written += text;
      lost += dropped;
    });
    for (char c = 'a'; c <= 'e'; ++c) writer.write(std::string(1, c));
    writer.write(std::string(std::size_t{17} << 20, 'x'));
    writer.write("f");
    writer.close();
    writer.write("late");
  }
  CHECK(written == "abcdef");
  CHECK(lost == 1);
}

}  // namespace
}  // namespace fasttrt::serving
