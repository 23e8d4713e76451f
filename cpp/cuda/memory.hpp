// Device memory, page-locked host memory, and copies between them.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "cuda/device.hpp"
#include "cuda/owned.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {

// Owns memory on the device that it remembers. Freeing waits for work that still uses it.
class DeviceBuffer {
 public:
  // Empty and of no device.
  DeviceBuffer() noexcept = default;
  // At least one byte is allocated, so data() is never null. Throws OutOfMemoryError.
  DeviceBuffer(std::shared_ptr<PrimaryContext> context, std::size_t bytes);

  // Makes size() at least bytes. A larger buffer is kept; else it is freed and allocated anew, so
  // its contents are lost and data() changes. If that throws OutOfMemoryError the buffer is empty
  // and can be grown again. Throws CudaError for a buffer of no device.
  void grow(std::size_t bytes);

  [[nodiscard]] void* data() const noexcept {
    return reinterpret_cast<void*>(memory_.handle());  // NOLINT(performance-no-int-to-ptr)
  }
  [[nodiscard]] std::size_t size() const noexcept { return data() != nullptr ? size_ : 0; }
  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept {
    return memory_.context();
  }

 private:
  void allocate(std::size_t bytes);

  Owned<HandleRef<DevicePtr>, &DriverApi::mem_free> memory_;
  std::size_t size_ = 0;
};

// mapped: the device reads and writes it too, at device_data().
enum class HostMemory { pinned, mapped };

// Owns page-locked host memory, which is copied faster and without the host's waiting.
class PinnedBuffer {
 public:
  PinnedBuffer() noexcept = default;
  // At least one byte is allocated. Throws OutOfMemoryError.
  PinnedBuffer(std::shared_ptr<PrimaryContext> context, std::size_t bytes,
               HostMemory kind = HostMemory::pinned);

  [[nodiscard]] void* data() const noexcept { return memory_.handle(); }
  // The device's address of the same bytes; null unless mapped.
  [[nodiscard]] void* device_data() const noexcept {
    return data() != nullptr ? device_data_ : nullptr;
  }
  [[nodiscard]] std::size_t size() const noexcept { return data() != nullptr ? size_ : 0; }
  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept {
    return memory_.context();
  }

 private:
  Owned<HandleRef<void*>, &DriverApi::mem_free_host> memory_;
  void* device_data_ = nullptr;
  std::size_t size_ = 0;
};

// These queue work and return; only host memory that is not page-locked may make them wait. Both
// sides must stay valid until the stream has done the work. They need a current context, throw
// CudaError, and do nothing for zero bytes.
void copy_to_device(void* dst, const void* src, std::size_t bytes, StreamRef stream);
void copy_to_host(void* dst, const void* src, std::size_t bytes, StreamRef stream);
void copy_on_device(void* dst, const void* src, std::size_t bytes, StreamRef stream);
void fill_on_device(void* dst, unsigned char value, std::size_t bytes, StreamRef stream);

struct MemoryInfo {
  std::size_t free = 0;
  std::size_t total = 0;
};

// Of the current context's device, in bytes.
[[nodiscard]] MemoryInfo memory_info();

// The ordinal of the device whose memory this is; empty for host memory of any kind. Needs a
// current context.
[[nodiscard]] std::optional<int> device_of(const void* data);

// Whether this is page-locked host memory, which copies may read and write while the host goes on.
[[nodiscard]] bool is_pinned(const void* data);

}  // namespace fasttrt::cuda
