#include "serving/trace_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <tuple>

#include "common/error.hpp"

namespace fasttrt::serving {
namespace {

constexpr std::string_view trace_beginning = R"({"traceEvents")";
constexpr std::string_view trace_ending = "\n]}\n";

[[noreturn]] void refuse_trace(const std::string& path, const std::string& problem) {
  throw InputError("cannot write a trace to '" + path + "': " + problem);
}

FileDescriptor open_file(const std::string& path) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  // NOLINTNEXTLINE(*-vararg)
  FileDescriptor file(::open(path.c_str(), flags, log_permissions));
  if (!file) refuse_trace(path, reason_of(errno));
  struct stat about{};
  if (::fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    refuse_trace(path, "it is not a regular file");
  }
  std::string found(trace_beginning.size(), '\0');
  const auto count = ::pread(file.get(), found.data(), found.size(), 0);
  if (count != 0 && found != trace_beginning) refuse_trace(path, "it is a file of another kind");
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
    refuse_trace(path, "another server writes to it");
  return file;
}

// All of the text, or false.
bool write_at(int file, std::string_view text, off_t position) noexcept {
  while (!text.empty()) {
    const auto count = ::pwrite(file, text.data(), text.size(), position);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
    position += count;
  }
  return true;
}

}  // namespace

TraceFile::TraceFile(const std::string& path) : file_(open_file(path)) {
  const auto text = std::string(trace_beginning) + ":[\n" +
                    R"({"name":"process_name","ph":"M","pid":)" + std::to_string(::getpid()) +
                    R"(,"args":{"name":"fasttrt serve"}})";
  const bool is_written = ::ftruncate(file_.get(), 0) == 0 &&
                          write_at(file_.get(), text + std::string(trace_ending), 0);
  if (!is_written) refuse_trace(path, reason_of(errno));
  end_ = static_cast<off_t>(text.size());
}

bool TraceFile::append(std::string_view events) noexcept {
  try {
    const auto text = std::string(events) + std::string(trace_ending);
    if (write_at(file_.get(), text, end_)) {
      end_ += static_cast<off_t>(events.size());
      return true;
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (write_at(file_.get(), trace_ending, end_)) {
    std::ignore = ::ftruncate(file_.get(), end_ + static_cast<off_t>(trace_ending.size()));
  }
  return false;
}

}  // namespace fasttrt::serving
