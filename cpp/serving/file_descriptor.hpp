// Owns a descriptor of the system's.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>

namespace fasttrt::serving {

// Of files that tell of clients.
inline constexpr mode_t log_permissions = 0640;

// The system's words for an errno.
[[nodiscard]] inline std::string reason_of(int code) {
  return std::generic_category().message(code);
}

class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    reset();
    descriptor_ = other.release();
    return *this;
  }

  [[nodiscard]] int get() const noexcept { return descriptor_; }
  explicit operator bool() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }
  void reset() noexcept {
    if (descriptor_ >= 0) ::close(release());
  }

 private:
  int descriptor_ = -1;
};

}  // namespace fasttrt::serving
