// The driver's functions for memory of other processes, bound apart from driver_api.hpp: whoever
// shares no memory does without them, as do some machines. driver_api_check.cpp compares them, too.
#pragma once

#include <array>
#include <cstddef>

#include "cuda/driver_api.hpp"

namespace fasttrt::cuda {

struct IpcHandle {
  std::array<unsigned char, 64> bytes;
};

inline constexpr unsigned int ipc_lazy_enable_peer_access = 1;

// clang-format off
#define FASTTRT_CUDA_IPC_FUNCTIONS(X)                                                             \
  X(open_mem_handle, cuIpcOpenMemHandle_v2,                                                       \
    (DevicePtr* data, IpcHandle handle, unsigned int flags))                                      \
  X(close_mem_handle, cuIpcCloseMemHandle, (DevicePtr data))                                      \
  X(mem_get_address_range, cuMemGetAddressRange_v2,                                               \
    (DevicePtr* base, std::size_t* bytes, DevicePtr data))
// clang-format on

// Never null in the table that ipc() gives.
struct IpcApi {
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define FASTTRT_CUDA_IPC_FIELD(field, symbol, parameters) Result(*field) parameters = nullptr;
  FASTTRT_CUDA_IPC_FUNCTIONS(FASTTRT_CUDA_IPC_FIELD)
#undef FASTTRT_CUDA_IPC_FIELD
};

// Loaded by the first call, as the driver is. Throws CudaError where the driver is unusable, or
// lacks one.
[[nodiscard]] const IpcApi& ipc();

}  // namespace fasttrt::cuda
