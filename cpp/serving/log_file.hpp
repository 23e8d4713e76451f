// A file that lines are added to, for as long as the server runs.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {

// Used by one thread at a time. What is there stays: lines are appended, wherever the file ends at
// the time, so that it may be truncated. A file that is renamed is left to whoever did so, and a
// new one begun at the path.
class LogFile {
 public:
  // path: "-" for standard output. beginning: that of the lines of a file of this kind. Throws
  // InputError for a file of another kind, and one that cannot be opened.
  LogFile(std::string path, std::string_view beginning);

  // Returns false where it could not all be written; the next line begins anew then.
  [[nodiscard]] bool append(std::string_view lines) noexcept;

 private:
  [[nodiscard]] FileDescriptor open() const;
  void look_for_file() noexcept;
  [[nodiscard]] bool write(std::string_view text) const noexcept;

  std::string path_;
  std::string_view beginning_;
  FileDescriptor file_;
  bool is_regular_ = false;
  bool is_within_line_ = false;
  std::chrono::steady_clock::time_point looked_at_;
};

}  // namespace fasttrt::serving
