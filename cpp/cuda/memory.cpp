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
    : memory_(std::move(context), 0) {
  allocate(bytes);
}

void DeviceBuffer::grow(std::size_t bytes) {
  if (context() == nullptr) {
    throw CudaError("a DeviceBuffer of no device cannot grow",
                    static_cast<int>(Result::invalid_context), "DeviceBuffer::grow");
  }
  if (data() != nullptr && bytes <= size_) return;
  memory_.reset();  // first, so that its memory can serve again
  allocate(bytes);
}

void DeviceBuffer::allocate(std::size_t bytes) {
  const ContextGuard guard(*context());
  DevicePtr data = 0;
  check(driver().mem_alloc(&data, at_least_one(bytes)), "cuMemAlloc_v2");
  memory_ = {context(), data};
  size_ = bytes;
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<PrimaryContext> context, std::size_t bytes,
                           HostMemory kind)
    : size_(bytes) {
  const ContextGuard guard(*context);
  // Portable: page-locked for the other devices' contexts as well.
  const unsigned int flags =
      host_alloc_portable | (kind == HostMemory::mapped ? host_alloc_device_map : 0U);
  void* data = nullptr;
  check(driver().mem_host_alloc(&data, at_least_one(bytes), flags), "cuMemHostAlloc");
  memory_ = {std::move(context), data};
  if (kind != HostMemory::mapped) return;

  DevicePtr device_data = 0;
  check(driver().mem_host_get_device_pointer(&device_data, data, 0),
        "cuMemHostGetDevicePointer_v2");
  device_data_ = from_driver(device_data);
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
  auto type = MemoryType::host;
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
