// Compares driver_api.hpp with the vendor's cuda.h. Compiling it is the whole check; it is built
// only where that header is found (cmake -DCUDA_INCLUDE_DIR=...).
#include "cuda/driver_api.hpp"

#include <cuda.h>

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "cuda/ipc_api.hpp"

namespace fasttrt::cuda {
namespace {

// Passed the same way: the same type, an enum for an enum, or a pointer to what is the same.
template <class Ours, class Theirs>
struct SameAbi
    : std::bool_constant<std::is_same_v<Ours, Theirs> ||
                         (std::is_enum_v<Ours> && std::is_enum_v<Theirs> &&
                          sizeof(std::conditional_t<std::is_enum_v<Ours>, Ours, int>) ==
                              sizeof(std::conditional_t<std::is_enum_v<Theirs>, Theirs, int>))> {};

template <class Ours, class Theirs>
struct SameAbi<Ours*, Theirs*> : SameAbi<std::remove_const_t<Ours>, std::remove_const_t<Theirs>> {};

template <>
struct SameAbi<Uuid, CUuuid> : std::bool_constant<sizeof(Uuid) == sizeof(CUuuid)> {};

#if CUDA_VERSION >= 12030
template <>
struct SameAbi<GraphEdge, CUgraphEdgeData>
    : std::bool_constant<sizeof(GraphEdge) == sizeof(CUgraphEdgeData) &&
                         offsetof(GraphEdge, to_port) == offsetof(CUgraphEdgeData, to_port) &&
                         offsetof(GraphEdge, type) == offsetof(CUgraphEdgeData, type)> {};
#endif

template <>
struct SameAbi<IpcHandle, CUipcMemHandle>
    : std::bool_constant<sizeof(IpcHandle) == sizeof(CUipcMemHandle)> {};

template <class Ours, class Theirs>
struct SameFunction : std::false_type {};

template <class Ours, class... OurArgs, class Theirs, class... TheirArgs>
  requires(sizeof...(OurArgs) == sizeof...(TheirArgs))
struct SameFunction<Ours (*)(OurArgs...), Theirs (*)(TheirArgs...)>
    : std::conjunction<SameAbi<Ours, Theirs>, SameAbi<OurArgs, TheirArgs>...> {};

// cuda.h renames a function to its newest version by a macro, which acts on our list too: what
// comes out must be the symbol that we resolve, or one known to have kept its signature.
constexpr bool same_version(std::string_view ours, std::string_view theirs) {
  return ours == theirs ||
         (ours == "cuDeviceGetUuid" && theirs == "cuDeviceGetUuid_v2") ||      // of MIG instances
         (ours == "cuEventElapsedTime" && theirs == "cuEventElapsedTime_v2");  // from 12.8 on
}

#define FASTTRT_EXPAND(symbol) #symbol
#define FASTTRT_CUDA_CHECK(field, symbol, parameters)                                           \
  static_assert(SameFunction<decltype(DriverApi::field), decltype(&::symbol)>::value, #symbol); \
  static_assert(same_version(#symbol, FASTTRT_EXPAND(symbol)), #symbol);
FASTTRT_CUDA_FUNCTIONS(FASTTRT_CUDA_CHECK)

#define FASTTRT_CUDA_IPC_CHECK(field, symbol, parameters)                                    \
  static_assert(SameFunction<decltype(IpcApi::field), decltype(&::symbol)>::value, #symbol); \
  static_assert(same_version(#symbol, FASTTRT_EXPAND(symbol)), #symbol);
FASTTRT_CUDA_IPC_FUNCTIONS(FASTTRT_CUDA_IPC_CHECK)
static_assert(CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS == ipc_lazy_enable_peer_access);
#if CUDA_VERSION >= 12030
FASTTRT_CUDA_NEWER_FUNCTIONS(FASTTRT_CUDA_CHECK)
#endif

template <class Ours, class Theirs>
constexpr bool equal(Ours ours, Theirs theirs) {
  return static_cast<long long>(ours) == static_cast<long long>(theirs);
}

static_assert(std::is_same_v<Device, CUdevice>);
static_assert(std::is_same_v<DevicePtr, CUdeviceptr>);
static_assert(equal(Result::success, CUDA_SUCCESS));
static_assert(equal(Result::invalid_value, CUDA_ERROR_INVALID_VALUE));
static_assert(equal(Result::out_of_memory, CUDA_ERROR_OUT_OF_MEMORY));
static_assert(equal(Result::deinitialized, CUDA_ERROR_DEINITIALIZED));
static_assert(equal(Result::no_device, CUDA_ERROR_NO_DEVICE));
static_assert(equal(Result::invalid_device, CUDA_ERROR_INVALID_DEVICE));
static_assert(equal(Result::invalid_context, CUDA_ERROR_INVALID_CONTEXT));
static_assert(equal(Result::not_ready, CUDA_ERROR_NOT_READY));
static_assert(equal(DeviceAttribute::compute_capability_major,
                    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
static_assert(equal(DeviceAttribute::compute_capability_minor,
                    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
static_assert(equal(PointerAttribute::memory_type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE));
static_assert(equal(PointerAttribute::device_ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL));
static_assert(equal(MemoryType::host, CU_MEMORYTYPE_HOST));
static_assert(equal(MemoryType::device, CU_MEMORYTYPE_DEVICE));
static_assert(sizeof(MemoryType) == sizeof(CUmemorytype));
static_assert(equal(CaptureMode::thread_local_calls, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
static_assert(equal(CaptureStatus::none, CU_STREAM_CAPTURE_STATUS_NONE));
static_assert(equal(CaptureStatus::active, CU_STREAM_CAPTURE_STATUS_ACTIVE));
static_assert(equal(CaptureStatus::invalidated, CU_STREAM_CAPTURE_STATUS_INVALIDATED));
static_assert(equal(stream_non_blocking, CU_STREAM_NON_BLOCKING));
static_assert(equal(event_blocking_sync, CU_EVENT_BLOCKING_SYNC));
static_assert(equal(event_disable_timing, CU_EVENT_DISABLE_TIMING));
static_assert(equal(host_alloc_portable, CU_MEMHOSTALLOC_PORTABLE));
static_assert(equal(host_alloc_device_map, CU_MEMHOSTALLOC_DEVICEMAP));

}  // namespace
}  // namespace fasttrt::cuda
