// Memory that a client shares with the server, for tensors that need no socket.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "serving/file_descriptor.hpp"

namespace fasttrt::serving {

// Used by any number of threads at once. What the client writes meanwhile is its own affair.
class SharedMemoryRegion {
 public:
  explicit SharedMemoryRegion(std::size_t bytes) noexcept : size_(bytes) {}
  virtual ~SharedMemoryRegion() = default;
  SharedMemoryRegion(const SharedMemoryRegion&) = delete;
  SharedMemoryRegion& operator=(const SharedMemoryRegion&) = delete;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  // Whether so many bytes from there on are the region's.
  [[nodiscard]] bool has(std::size_t offset, std::size_t bytes) const noexcept {
    return offset <= size_ && bytes <= size_ - offset;
  }

  // Copies out of the region, or into it: bytes that it has(). Throws InputError where its client
  // has taken the memory away.
  virtual void read(std::size_t offset, std::span<char> target) const = 0;
  virtual void write(std::size_t offset, std::string_view bytes) const = 0;

 private:
  const std::size_t size_;
};

// A part of a POSIX shared-memory object. It is read and written by system calls, never mapped: a
// client that shrinks its object, or fills the file system that it lies in, would end the process
// by SIGBUS at a mapped page, at any moment. A call copies as fast, and says what is wrong.
class SystemMemoryRegion final : public SharedMemoryRegion {
 public:
  // Opens the object. Throws InputError for a key that is none, an object that is not there or may
  // not be read and written, and one that ends before offset + bytes.
  SystemMemoryRegion(std::string key, std::size_t offset, std::size_t bytes);

  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

  void read(std::size_t offset, std::span<char> target) const override;
  void write(std::size_t offset, std::string_view bytes) const override;

 private:
  [[nodiscard]] std::size_t object_size() const noexcept;
  [[noreturn]] void refuse_shrunk() const;

  const std::string key_;
  const std::size_t offset_;
  const FileDescriptor object_;
};

}  // namespace fasttrt::serving
