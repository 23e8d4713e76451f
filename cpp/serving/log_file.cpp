#include "serving/log_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::serving {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view standard_output = "-";
constexpr auto looking_interval = std::chrono::seconds(1);
// How long a reader of a pipe may keep the server waiting.
constexpr int max_wait_ms = 200;

[[noreturn]] void refuse_log(const std::string& path, const std::string& problem) {
  throw InputError("cannot write to '" + path + "': " + problem);
}

bool is_regular(int file) noexcept {
  struct stat about{};
  return ::fstat(file, &about) == 0 && S_ISREG(about.st_mode);
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as of pread
std::string read_at(int file, std::size_t bytes, off_t position) {
  std::string text(bytes, '\0');
  const auto count = ::pread(file, text.data(), text.size(), position);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

}  // namespace

LogFile::LogFile(std::string path, std::string_view beginning)
    : path_(std::move(path)), beginning_(beginning), file_(open()) {
  is_regular_ = is_regular(file_.get());
  if (!is_regular_ || path_ == standard_output) return;
  const auto size = ::lseek(file_.get(), 0, SEEK_END);
  is_within_line_ = size > 0 && read_at(file_.get(), 1, size - 1) != "\n";
}

FileDescriptor LogFile::open() const {
  if (path_ == standard_output) {
    // NOLINTNEXTLINE(*-vararg)
    FileDescriptor copy(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!copy) refuse_log("standard output", reason_of(errno));
    return copy;
  }
  // To read: what kind of file it is. A pipe without a reader would not be opened otherwise.
  const int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  // NOLINTNEXTLINE(*-vararg)
  FileDescriptor file(::open(path_.c_str(), flags, log_permissions));
  if (!file) refuse_log(path_, reason_of(errno));
  if (!is_regular(file.get())) return file;
  const auto found = read_at(file.get(), beginning_.size(), 0);
  const auto size = ::lseek(file.get(), 0, SEEK_END);
  if (size > 0 && found != beginning_) {
    refuse_log(path_, "it is a file of another kind: its lines do not begin with " +
                          std::string(beginning_));
  }
  return file;
}

// Opens the path again where it has become another file, or none.
void LogFile::look_for_file() noexcept {
  const auto now = steady_clock::now();
  if (!is_regular_ || path_ == standard_output || now < looked_at_ + looking_interval) return;
  looked_at_ = now;
  struct stat here{};
  struct stat there{};
  if (::fstat(file_.get(), &here) != 0) return;
  if (::stat(path_.c_str(), &there) == 0 && here.st_dev == there.st_dev &&
      here.st_ino == there.st_ino) {
    return;
  }
  try {
    *this = LogFile(path_, beginning_);
  } catch (const std::exception&) {
    return;  // the old one serves on
  }
}

bool LogFile::write(std::string_view text) const noexcept {
  while (!text.empty()) {
    // A reader of a pipe that is slow must not keep the server from ending.
    const auto bytes = is_regular_ ? text.size() : std::min<std::size_t>(text.size(), PIPE_BUF);
    pollfd ready{file_.get(), POLLOUT, 0};
    if (!is_regular_ && ::poll(&ready, 1, max_wait_ms) == 0) return false;
    const auto count = ::write(file_.get(), text.data(), bytes);
    if (count < 0 && (errno == EINTR || (errno == EAGAIN && !is_regular_))) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool LogFile::append(std::string_view lines) noexcept {
  look_for_file();
  if (is_within_line_ && !write("\n")) return false;
  is_within_line_ = !write(lines);
  return !is_within_line_;
}

}  // namespace fasttrt::serving
