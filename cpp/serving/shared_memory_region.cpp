#include "serving/shared_memory_region.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/error.hpp"

namespace fasttrt::serving {
namespace {

// What shm_open takes on all systems, and what cannot leave its folder.
bool is_key(std::string_view key) noexcept {
  if (key.starts_with('/')) key.remove_prefix(1);
  return !key.empty() && key.size() < 255 && key != "." && key != ".." &&
         key.find('/') == std::string_view::npos && key.find('\0') == std::string_view::npos;
}

FileDescriptor open_object(const std::string& key) {
  if (!is_key(key)) {
    throw InputError("key: expected the name of a shared-memory object, as in '/name', got '" +
                     key + "'");
  }
  FileDescriptor object(::shm_open(key.c_str(), O_RDWR | O_NONBLOCK, 0));
  if (!object) {
    throw InputError("Unable to open shared memory region: '" + key + "': " + reason_of(errno));
  }
  struct stat about{};
  if (::fstat(object.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    throw InputError("Unable to open shared memory region: '" + key +
                     "': not a shared memory object");
  }
  return object;
}

}  // namespace

SystemMemoryRegion::SystemMemoryRegion(std::string key, std::size_t offset, std::size_t bytes)
    : SharedMemoryRegion(bytes), key_(std::move(key)), offset_(offset), object_(open_object(key_)) {
  if (bytes == 0) throw InputError("byte_size: expected at least 1, got 0");
  const auto most = object_size();
  if (offset <= most && bytes <= most - offset) return;
  throw InputError("expected offset + byte_size of at most " + std::to_string(most) +
                   ", the size of '" + key_ + "', got " + std::to_string(offset) + " + " +
                   std::to_string(bytes));
}

std::size_t SystemMemoryRegion::object_size() const noexcept {
  struct stat about{};
  if (::fstat(object_.get(), &about) != 0 || about.st_size < 0) return 0;
  return static_cast<std::size_t>(about.st_size);
}

void SystemMemoryRegion::refuse_shrunk() const {
  throw InputError("the shared-memory object '" + key_ + "' has shrunk to " +
                   std::to_string(object_size()) + " bytes since it was registered with " +
                   std::to_string(offset_ + size()));
}

void SystemMemoryRegion::read(std::size_t offset, std::span<char> target) const {
  auto position = static_cast<off_t>(offset_ + offset);
  while (!target.empty()) {
    const auto count = ::pread(object_.get(), target.data(), target.size(), position);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) refuse_shrunk();
    target = target.subspan(static_cast<std::size_t>(count));
    position += count;
  }
}

void SystemMemoryRegion::write(std::size_t offset, std::string_view bytes) const {
  if (bytes.empty()) return;
  // A write would let the object grow again. If it shrinks from here on it does, which is harmless.
  if (offset_ + offset + bytes.size() > object_size()) refuse_shrunk();
  auto position = static_cast<off_t>(offset_ + offset);
  while (!bytes.empty()) {
    const auto count = ::pwrite(object_.get(), bytes.data(), bytes.size(), position);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw InputError("cannot write to the shared-memory object '" + key_ +
                       "': " + reason_of(errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
    position += count;
  }
}

}  // namespace fasttrt::serving
