// Devices, their primary contexts (those that the CUDA runtime, and so PyTorch, uses too), and
// which of them is current on a thread.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>

#include "cuda/driver_api.hpp"

namespace fasttrt::cuda {

struct DeviceInfo {
  int ordinal = 0;
  std::string name;
  std::string uuid;  // of the whole GPU, as NVML writes it: "GPU-" and five groups of digits
  int major = 0;     // compute capability
  int minor = 0;
  std::size_t total_memory = 0;  // bytes
  int driver_version = 0;        // highest CUDA release that the driver serves: 12040 is 12.4
};

// Throws CudaError if the driver is unusable.
[[nodiscard]] int device_count();

// Throws CudaError; for a bad ordinal it names the valid range.
[[nodiscard]] DeviceInfo device_info(int ordinal);

// Keeps a device's primary context alive. Whatever lives on the device holds one of these.
class PrimaryContext {
  struct Key {};

 public:
  // Throws CudaError, or OutOfMemoryError if the device has no room for a context.
  [[nodiscard]] static std::shared_ptr<PrimaryContext> retain(int ordinal);

  PrimaryContext(Key key, int ordinal);
  ~PrimaryContext();
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }
  [[nodiscard]] CUctx_st* handle() const noexcept { return context_; }

 private:
  int ordinal_;
  Device device_ = 0;
  CUctx_st* context_ = nullptr;
};

// Makes a context current on this thread for a scope; afterwards the caller's is current again.
// Does not keep the context alive.
class ContextGuard {
 public:
  explicit ContextGuard(const PrimaryContext& context);
  // For destructors: test active() in place of an exception.
  ContextGuard(const PrimaryContext& context, std::nothrow_t tag) noexcept;
  ~ContextGuard();
  ContextGuard(const ContextGuard&) = delete;
  ContextGuard& operator=(const ContextGuard&) = delete;

  [[nodiscard]] bool active() const noexcept { return active_; }

 private:
  bool active_ = false;
};

}  // namespace fasttrt::cuda
