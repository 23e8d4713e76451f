#include "cuda/ipc_memory.hpp"

#include <new>
#include <utility>

#include "cuda/status.hpp"

namespace fasttrt::cuda {

IpcMemory::IpcMemory(std::shared_ptr<PrimaryContext> context, const IpcHandle& handle)
    : context_(std::move(context)) {
  const ContextGuard guard(*context_);
  check(ipc().open_mem_handle(&data_, handle, ipc_lazy_enable_peer_access),
        "cuIpcOpenMemHandle_v2");
}

IpcMemory::~IpcMemory() {
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(ipc().close_mem_handle(data_));
}

std::size_t IpcMemory::size() const {
  const ContextGuard guard(*context_);
  DevicePtr base = 0;
  std::size_t bytes = 0;
  check(ipc().mem_get_address_range(&base, &bytes, data_), "cuMemGetAddressRange_v2");
  return bytes - static_cast<std::size_t>(data_ - base);
}

}  // namespace fasttrt::cuda
