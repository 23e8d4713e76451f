// Memory of a GPU that a client shares with the server.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "cuda/ipc_memory.hpp"
#include "cuda/stream.hpp"
#include "serving/shared_memory_region.hpp"

namespace fasttrt::serving {

// The client has done all work on it before it asks for anything, and frees it only once it is
// unregistered.
class CudaMemoryRegion final : public SharedMemoryRegion {
 public:
  // Opens the memory. Throws InputError for a handle that is none, a device that is not there, and
  // memory that ends before `bytes`.
  CudaMemoryRegion(std::string_view raw_handle, int device, std::size_t bytes);

  [[nodiscard]] int device() const noexcept { return memory_.context()->ordinal(); }

  void read(std::size_t offset, std::span<char> target) const override;
  void write(std::size_t offset, std::string_view bytes) const override;

 private:
  [[nodiscard]] char* at(std::size_t offset) const noexcept {
    return static_cast<char*>(memory_.data()) + offset;
  }

  const cuda::IpcMemory memory_;
  const cuda::Stream stream_;
};

}  // namespace fasttrt::serving
