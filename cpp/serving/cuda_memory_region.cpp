#include "serving/cuda_memory_region.hpp"

#include <cstring>
#include <memory>
#include <string>

#include "common/error.hpp"
#include "cuda/device.hpp"
#include "cuda/memory.hpp"

namespace fasttrt::serving {
namespace {

cuda::IpcMemory open_memory(std::string_view raw_handle, int device) {
  cuda::IpcHandle handle{};
  if (raw_handle.size() != handle.bytes.size()) {
    throw InputError("raw_handle: expected " + std::to_string(handle.bytes.size()) +
                     " bytes, got " + std::to_string(raw_handle.size()));
  }
  std::memcpy(handle.bytes.data(), raw_handle.data(), raw_handle.size());
  try {
    return {cuda::PrimaryContext::retain(device), handle};
  } catch (const CudaError& error) {
    throw InputError(error.what());
  }
}

// What goes wrong with a client's memory is no failure of an engine.
void copy_now(const std::shared_ptr<cuda::PrimaryContext>& context, const cuda::Stream& stream,
              const auto& copy) {
  try {
    const cuda::ContextGuard guard(*context);
    copy();
    stream.synchronize();
  } catch (const CudaError& error) {
    throw InputError(std::string("CUDA shared memory cannot be copied: ") + error.what());
  }
}

}  // namespace

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as clients register it
CudaMemoryRegion::CudaMemoryRegion(std::string_view raw_handle, int device, std::size_t bytes)
    : SharedMemoryRegion(bytes),
      memory_(open_memory(raw_handle, device)),
      stream_(memory_.context()) {
  if (bytes == 0) throw InputError("byte_size: expected at least 1, got 0");
  const auto most = memory_.size();
  if (bytes <= most) return;
  throw InputError("byte_size: expected at most " + std::to_string(most) +
                   ", the size of the memory, got " + std::to_string(bytes));
}

void CudaMemoryRegion::read(std::size_t offset, std::span<char> target) const {
  copy_now(memory_.context(), stream_,
           [&] { cuda::copy_to_host(target.data(), at(offset), target.size(), stream_); });
}

void CudaMemoryRegion::write(std::size_t offset, std::string_view bytes) const {
  copy_now(memory_.context(), stream_,
           [&] { cuda::copy_to_device(at(offset), bytes.data(), bytes.size(), stream_); });
}

}  // namespace fasttrt::serving
