// Device memory of another process, opened here.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/device.hpp"
#include "cuda/ipc_api.hpp"

namespace fasttrt::cuda {

// Owns the opening; the memory is the other process's, which must not free it meanwhile.
class IpcMemory {
 public:
  // Opens what cuIpcGetMemHandle() gave the other process, on the context's device. Throws
  // CudaError for a handle that is none, or of this process.
  IpcMemory(std::shared_ptr<PrimaryContext> context, const IpcHandle& handle);
  ~IpcMemory();
  IpcMemory(const IpcMemory&) = delete;
  IpcMemory& operator=(const IpcMemory&) = delete;

  [[nodiscard]] void* data() const noexcept {
    return reinterpret_cast<void*>(data_);  // NOLINT(performance-no-int-to-ptr)
  }
  // From there to the end of what the other process has allocated at once. Throws CudaError.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept { return context_; }

 private:
  const std::shared_ptr<PrimaryContext> context_;
  DevicePtr data_ = 0;
};

}  // namespace fasttrt::cuda
