// Work that other threads have for an event loop.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {

class Mailbox {
 public:
  using Task = std::function<void()>;

  // Throws Error where the process may open no more files.
  Mailbox();

  // Readable while something is here. Not for reading.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

  // From any thread; the task is dropped once the mailbox is closed.
  void post(Task task);
  // All that is here, for the event loop.
  [[nodiscard]] std::vector<Task> take();
  // Drops what is here, and what will come.
  void close();

 private:
  const FileDescriptor descriptor_;
  std::mutex mutex_;
  std::vector<Task> tasks_;
  bool is_closed_ = false;
};

}  // namespace fasttrt::serving
