#include "cuda/memory.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {
namespace {

DevicePtr to_driver(const void* data) noexcept { return reinterpret_cast<DevicePtr>(data); }

void* from_driver(DevicePtr data) noexcept {
  return reinterpret_cast<void*>(data);  // NOLINT(performance-no-int-to-ptr)
}

// The driver refuses to allocate nothing, and an empty tensor still wants an address.
std::size_t at_least_one(std::size_t bytes) noexcept { return std::max<std::size_t>(bytes, 1); }

}  // namespace

DeviceBuffer::DeviceBuffer(std::shared_ptr<PrimaryContext> context, std::size_t bytes)
    : context_(std::move(context)) {
  allocate(bytes);
}

DeviceBuffer::~DeviceBuffer() { reset(); }

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : context_(std::move(other.context_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  if (this != &other) {
    reset();
    context_ = std::move(other.context_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void DeviceBuffer::grow(std::size_t bytes) {
  if (context_ == nullptr) {
    throw CudaError("a DeviceBuffer of no device cannot grow",
                    static_cast<int>(Result::invalid_context), "DeviceBuffer::grow");
  }
  if (data_ != nullptr && bytes <= size_) return;
  reset();
  allocate(bytes);
}

void DeviceBuffer::allocate(std::size_t bytes) {
  const ContextGuard guard(*context_);
  DevicePtr data = 0;
  check(driver().mem_alloc(&data, at_least_one(bytes)), "cuMemAlloc_v2");
  data_ = from_driver(data);
  size_ = bytes;
}

void DeviceBuffer::reset() noexcept {
  if (data_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().mem_free(to_driver(data_)));
  data_ = nullptr;
  size_ = 0;
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<PrimaryContext> context, std::size_t bytes,
                           HostMemory kind)
    : context_(std::move(context)) {
  const ContextGuard guard(*context_);
  // Portable: page-locked for the other devices' contexts as well.
  const unsigned int flags =
      kHostAllocPortable | (kind == HostMemory::mapped ? kHostAllocDeviceMap : 0U);
  check(driver().mem_host_alloc(&data_, at_least_one(bytes), flags), "cuMemHostAlloc");
  size_ = bytes;
  if (kind != HostMemory::mapped) return;

  DevicePtr device_data = 0;
  const Result code = driver().mem_host_get_device_pointer(&device_data, data_, 0);
  if (code != Result::success) reset();  // no destructor runs for a half-made object
  check(code, "cuMemHostGetDevicePointer_v2");
  device_data_ = from_driver(device_data);
}

PinnedBuffer::~PinnedBuffer() { reset(); }

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept
    : context_(std::move(other.context_)),
      data_(std::exchange(other.data_, nullptr)),
      device_data_(std::exchange(other.device_data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  if (this != &other) {
    reset();
    context_ = std::move(other.context_);
    data_ = std::exchange(other.data_, nullptr);
    device_data_ = std::exchange(other.device_data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void PinnedBuffer::reset() noexcept {
  if (data_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().mem_free_host(data_));
  data_ = nullptr;
  device_data_ = nullptr;
  size_ = 0;
}

void copy_to_device(void* dst, const void* src, std::size_t bytes, StreamRef stream) {
  if (bytes == 0) return;
  check(driver().memcpy_htod_async(to_driver(dst), src, bytes, stream.handle()),
        "cuMemcpyHtoDAsync_v2");
}

void copy_to_host(void* dst, const void* src, std::size_t bytes, StreamRef stream) {
  if (bytes == 0) return;
  check(driver().memcpy_dtoh_async(dst, to_driver(src), bytes, stream.handle()),
        "cuMemcpyDtoHAsync_v2");
}

void copy_on_device(void* dst, const void* src, std::size_t bytes, StreamRef stream) {
  if (bytes == 0) return;
  check(driver().memcpy_dtod_async(to_driver(dst), to_driver(src), bytes, stream.handle()),
        "cuMemcpyDtoDAsync_v2");
}

void fill_on_device(void* dst, unsigned char value, std::size_t bytes, StreamRef stream) {
  if (bytes == 0) return;
  check(driver().memset_d8_async(to_driver(dst), value, bytes, stream.handle()), "cuMemsetD8Async");
}

MemoryInfo memory_info() {
  MemoryInfo info;
  check(driver().mem_get_info(&info.free, &info.total), "cuMemGetInfo_v2");
  return info;
}

namespace {

// Empty for memory that the driver never heard of.
std::optional<MemoryType> type_of(const void* data) {
  MemoryType type{};
  const Result code =
      driver().pointer_get_attribute(&type, PointerAttribute::memory_type, to_driver(data));
  if (code == Result::invalid_value) return std::nullopt;
  check(code, "cuPointerGetAttribute");
  return type;
}

}  // namespace

std::optional<int> device_of(const void* data) {
  if (type_of(data) != MemoryType::device) return std::nullopt;
  int ordinal = -1;
  check(driver().pointer_get_attribute(&ordinal, PointerAttribute::device_ordinal, to_driver(data)),
        "cuPointerGetAttribute");
  return ordinal;
}

bool is_pinned(const void* data) { return type_of(data) == MemoryType::host; }

}  // namespace fasttrt::cuda
