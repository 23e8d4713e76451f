// A file of events that chrome://tracing and Perfetto show.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {

// Used by one thread at a time. The file is valid JSON whenever it is looked at.
class TraceFile {
 public:
  // Replaces an older trace. Throws InputError for a file of another kind, one that another process
  // writes to, and one that cannot be opened.
  explicit TraceFile(const std::string& path);

  // Adds events: JSON objects, each with a comma and a new line before it. Returns false where they
  // could not be written; the file is as before then.
  [[nodiscard]] bool append(std::string_view events) noexcept;
  // Others may write to the file now.
  void close() noexcept { file_.reset(); }

 private:
  FileDescriptor file_;
  off_t end_ = 0;  // of the events
};

}  // namespace fasttrt::serving
