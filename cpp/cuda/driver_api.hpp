// The CUDA driver API, bound at run time: the few types, constants and functions that fasttrt
// uses, declared here so that building it needs no CUDA toolkit. driver_api_check.cpp compares
// every line with the vendor's header where there is one.
#pragma once

#include <array>
#include <cstddef>
#include <string>

// The vendor's own tag names, so that handles agree with those of other CUDA code.
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphNode_st;
struct CUgraphExec_st;

namespace fasttrt::cuda {

using Device = int;
using DevicePtr = unsigned long long;

// CUresult; any other value may occur too.
enum class [[nodiscard]] Result : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  deinitialized = 4,
  no_device = 100,
  invalid_device = 101,
  invalid_context = 201,
  not_ready = 600,
};

struct Uuid {
  std::array<unsigned char, 16> bytes;
};

// Zeros: the node at its end begins when the one at its start has ended.
struct GraphEdge {
  unsigned char from_port;
  unsigned char to_port;
  unsigned char type;
  std::array<unsigned char, 5> reserved;
};

enum class DeviceAttribute : int { compute_capability_major = 75, compute_capability_minor = 76 };
enum class PointerAttribute : int { memory_type = 2, device_ordinal = 9 };
enum class MemoryType : unsigned int { host = 1, device = 2 };
enum class CaptureMode : int { thread_local_calls = 1 };
enum class CaptureStatus : int { none = 0, active = 1, invalidated = 2 };

inline constexpr unsigned int stream_non_blocking = 1;
inline constexpr unsigned int event_blocking_sync = 1;
inline constexpr unsigned int event_disable_timing = 2;
inline constexpr unsigned int host_alloc_portable = 1;
inline constexpr unsigned int host_alloc_device_map = 2;

// Every driver function: field, exact symbol, parameters. One list, so that the table, the code
// that fills it and the check against the vendor's header cannot differ. Oldest driver with all
// of them: CUDA 11.4.
// clang-format off
#define FASTTRT_CUDA_FUNCTIONS(X)                                                                 \
  X(init, cuInit, (unsigned int flags))                                                           \
  X(driver_get_version, cuDriverGetVersion, (int* version))                                       \
  X(get_error_name, cuGetErrorName, (Result code, const char** name))                             \
  X(get_error_string, cuGetErrorString, (Result code, const char** text))                         \
  X(device_get_count, cuDeviceGetCount, (int* count))                                             \
  X(device_get, cuDeviceGet, (Device* device, int ordinal))                                       \
  X(device_get_name, cuDeviceGetName, (char* name, int length, Device device))                    \
  X(device_get_uuid, cuDeviceGetUuid, (Uuid* uuid, Device device))                                \
  X(device_get_attribute, cuDeviceGetAttribute,                                                   \
    (int* value, DeviceAttribute attribute, Device device))                                       \
  X(device_total_mem, cuDeviceTotalMem_v2, (std::size_t* bytes, Device device))                   \
  X(device_primary_ctx_retain, cuDevicePrimaryCtxRetain, (CUctx_st** context, Device device))     \
  X(device_primary_ctx_release, cuDevicePrimaryCtxRelease_v2, (Device device))                    \
  X(ctx_get_current, cuCtxGetCurrent, (CUctx_st** context))                                       \
  X(ctx_push_current, cuCtxPushCurrent_v2, (CUctx_st* context))                                   \
  X(ctx_pop_current, cuCtxPopCurrent_v2, (CUctx_st** context))                                    \
  X(mem_get_info, cuMemGetInfo_v2, (std::size_t* free, std::size_t* total))                       \
  X(mem_alloc, cuMemAlloc_v2, (DevicePtr* data, std::size_t bytes))                               \
  X(mem_free, cuMemFree_v2, (DevicePtr data))                                                     \
  X(mem_host_alloc, cuMemHostAlloc, (void** data, std::size_t bytes, unsigned int flags))         \
  X(mem_host_get_device_pointer, cuMemHostGetDevicePointer_v2,                                    \
    (DevicePtr* device_data, void* data, unsigned int flags))                                     \
  X(mem_free_host, cuMemFreeHost, (void* data))                                                   \
  X(memcpy_htod_async, cuMemcpyHtoDAsync_v2,                                                      \
    (DevicePtr to, const void* from, std::size_t bytes, CUstream_st* stream))                     \
  X(memcpy_dtoh_async, cuMemcpyDtoHAsync_v2,                                                      \
    (void* to, DevicePtr from, std::size_t bytes, CUstream_st* stream))                           \
  X(memcpy_dtod_async, cuMemcpyDtoDAsync_v2,                                                      \
    (DevicePtr to, DevicePtr from, std::size_t bytes, CUstream_st* stream))                       \
  X(memset_d8_async, cuMemsetD8Async,                                                             \
    (DevicePtr to, unsigned char value, std::size_t bytes, CUstream_st* stream))                  \
  X(pointer_get_attribute, cuPointerGetAttribute,                                                 \
    (void* value, PointerAttribute attribute, DevicePtr data))                                    \
  X(stream_create, cuStreamCreate, (CUstream_st** stream, unsigned int flags))                    \
  X(stream_destroy, cuStreamDestroy_v2, (CUstream_st* stream))                                    \
  X(stream_query, cuStreamQuery, (CUstream_st* stream))                                           \
  X(stream_synchronize, cuStreamSynchronize, (CUstream_st* stream))                               \
  X(stream_wait_event, cuStreamWaitEvent,                                                         \
    (CUstream_st* stream, CUevent_st* event, unsigned int flags))                                 \
  X(stream_begin_capture, cuStreamBeginCapture_v2, (CUstream_st* stream, CaptureMode mode))       \
  X(stream_end_capture, cuStreamEndCapture, (CUstream_st* stream, CUgraph_st** graph))            \
  X(stream_is_capturing, cuStreamIsCapturing, (CUstream_st* stream, CaptureStatus* status))       \
  X(event_create, cuEventCreate, (CUevent_st** event, unsigned int flags))                        \
  X(event_destroy, cuEventDestroy_v2, (CUevent_st* event))                                        \
  X(event_record, cuEventRecord, (CUevent_st* event, CUstream_st* stream))                        \
  X(event_query, cuEventQuery, (CUevent_st* event))                                               \
  X(event_synchronize, cuEventSynchronize, (CUevent_st* event))                                   \
  X(event_elapsed_time, cuEventElapsedTime, (float* ms, CUevent_st* start, CUevent_st* end))      \
  X(graph_instantiate, cuGraphInstantiateWithFlags,                                               \
    (CUgraphExec_st** exec, CUgraph_st* graph, unsigned long long flags))                         \
  X(graph_launch, cuGraphLaunch, (CUgraphExec_st* exec, CUstream_st* stream))                     \
  X(graph_destroy, cuGraphDestroy, (CUgraph_st* graph))                                           \
  X(graph_exec_destroy, cuGraphExecDestroy, (CUgraphExec_st* exec))

// The same, of newer drivers. Null where the driver lacks them, as those before CUDA 12.3 do.
#define FASTTRT_CUDA_NEWER_FUNCTIONS(X)                                                           \
  X(graph_get_edges, cuGraphGetEdges_v2,                                                          \
    (CUgraph_st* graph, CUgraphNode_st** from, CUgraphNode_st** to, GraphEdge* edges,             \
     std::size_t* count))                                                                         \
  X(graph_add_dependencies, cuGraphAddDependencies_v2,                                            \
    (CUgraph_st* graph, CUgraphNode_st* const* from, CUgraphNode_st* const* to,                   \
     const GraphEdge* edges, std::size_t count))                                                  \
  X(graph_remove_dependencies, cuGraphRemoveDependencies_v2,                                      \
    (CUgraph_st* graph, CUgraphNode_st* const* from, CUgraphNode_st* const* to,                   \
     const GraphEdge* edges, std::size_t count))
// clang-format on

// Never null in the table that driver() gives, but for those of newer drivers.
struct DriverApi {
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define FASTTRT_CUDA_FIELD(field, symbol, parameters) Result(*field) parameters = nullptr;
  FASTTRT_CUDA_FUNCTIONS(FASTTRT_CUDA_FIELD)
  FASTTRT_CUDA_NEWER_FUNCTIONS(FASTTRT_CUDA_FIELD)
#undef FASTTRT_CUDA_FIELD
};

// The driver, loaded and initialised by the first call; safe from any thread. Throws CudaError:
// code -1 if libcuda.so.1 is missing or too old, else cuInit's (CUDA_ERROR_NO_DEVICE, ...). After
// a failure the next call tries again.
[[nodiscard]] const DriverApi& driver();

// Empty if the driver and at least one device are usable, else one sentence that says why not.
[[nodiscard]] std::string driver_problem() noexcept;

}  // namespace fasttrt::cuda
