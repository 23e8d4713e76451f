// A CUDA driver for tests on machines without one: libcuda.so.1 with the functions that fasttrt
// uses, for two devices whose memory is the host's. A stream does its work at once, or, while it is
// captured, when the graph is launched. cuda_test.cpp runs with it as with the vendor's.
#include "cuda/driver_fake.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/driver_api.hpp"
#include "cuda/ipc_api.hpp"

using namespace fasttrt::cuda;  // NOLINT(google-build-using-namespace): its signatures
using Work = std::vector<std::function<void()>>;

struct CUctx_st {
  int device = 0;
};

struct CUgraph_st {
  struct Dependency {
    CUgraphNode_st* from;
    CUgraphNode_st* to;
    GraphEdge edge;
  };
  Work work;
  std::vector<Dependency> edges;
};

struct CUgraphExec_st {
  Work work;
};

struct CUstream_st {
  CaptureStatus status = CaptureStatus::none;
  Work work;  // captured so far
};

struct CUevent_st {
  bool has_timing = false;
  std::chrono::steady_clock::time_point time;
};

namespace {

struct Driver {
  std::array<CUctx_st, 2> contexts{{{0}, {1}}};
  std::mutex mutex;
  std::set<const void*> objects;  // streams, events, graphs
  std::map<std::uintptr_t, std::size_t> device_memory;
  std::set<std::uintptr_t> host_memory;
  std::map<std::string, std::pair<Result, int>> failures;
};

Driver& state() {
  static auto* const driver = new Driver;
  return *driver;
}

struct Thread {
  std::vector<CUctx_st*> contexts;  // the last is current
  CUstream_st* capturing = nullptr;
};

Thread& thread() {
  thread_local Thread thread;
  return thread;
}

bool has_context() { return !thread().contexts.empty(); }

// What the next call of this name answers in place of its work.
Result failure(const char* symbol) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().failures.find(symbol);
  if (found == state().failures.end()) return Result::success;
  const auto code = found->second.first;
  if (--found->second.second == 0) state().failures.erase(found);
  return code;
}

template <class T>
Result make(T** object, T value = {}) {
  if (!has_context()) return Result::invalid_context;
  *object = new T(std::move(value));
  const std::lock_guard lock(state().mutex);
  state().objects.insert(*object);
  return Result::success;
}

template <class T>
Result destroy(T* object) {
  if (!has_context()) return Result::invalid_context;
  const std::lock_guard lock(state().mutex);
  if (state().objects.erase(object) == 0) return Result::invalid_value;
  delete object;
  return Result::success;
}

// Work on a stream: now, or as a part of a graph.
Result queue(CUstream_st* stream, std::function<void()> work) {
  if (!has_context()) return Result::invalid_context;
  if (stream != nullptr && stream->status == CaptureStatus::active) {
    stream->work.push_back(std::move(work));
  } else {
    work();
  }
  return Result::success;
}

Result copy(void* to, const void* from, std::size_t bytes, CUstream_st* stream) {
  return queue(stream, [=] { std::memcpy(to, from, bytes); });
}

void* pointer(DevicePtr data) {
  return reinterpret_cast<void*>(data);  // NOLINT(performance-no-int-to-ptr)
}

// Calls that wait cannot be captured, and spoil the capture of their thread.
Result spoil_capture() {
  if (thread().capturing == nullptr) return Result::success;
  thread().capturing->status = CaptureStatus::invalidated;
  return Result{900};  // CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
}

// Of a step of a graph's work.
CUgraphNode_st* node(std::size_t step) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it points to nothing
  return reinterpret_cast<CUgraphNode_st*>(step + 1);
}

}  // namespace

#define DRIVER(symbol, ...)              \
  extern "C" Result symbol(__VA_ARGS__); \
  extern "C" Result symbol(__VA_ARGS__)
#define MAY_FAIL(symbol) \
  if (const auto code = failure(#symbol); code != Result::success) return code

extern "C" void fasttrt_fake_fail(const char* symbol, int code, int times) {
  const std::lock_guard lock(state().mutex);
  state().failures[symbol] = {Result{code}, times};
}

extern "C" void fasttrt_fake_sleep(CUstream_st* stream, int microseconds) {
  (void)queue(stream,
              [=] { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); });
}

extern "C" std::size_t fasttrt_fake_objects() {
  const std::lock_guard lock(state().mutex);
  return state().objects.size() + state().device_memory.size() + state().host_memory.size();
}

DRIVER(cuInit, unsigned int /*flags*/) { return Result::success; }
DRIVER(cuDriverGetVersion, int* version) {
  *version = 12080;
  return Result::success;
}
DRIVER(cuGetErrorName, Result code, const char** name) {
  if (code == Result::invalid_value) *name = "CUDA_ERROR_INVALID_VALUE";
  if (code == Result::out_of_memory) *name = "CUDA_ERROR_OUT_OF_MEMORY";
  return *name != nullptr ? Result::success : Result::invalid_value;
}
DRIVER(cuGetErrorString, Result code, const char** text) {
  if (code == Result::invalid_value) *text = "invalid argument";
  return *text != nullptr ? Result::success : Result::invalid_value;
}
DRIVER(cuDeviceGetCount, int* count) {
  *count = static_cast<int>(state().contexts.size());
  return Result::success;
}
DRIVER(cuDeviceGet, Device* device, int ordinal) {
  *device = ordinal;
  return Result::success;
}
DRIVER(cuDeviceGetName, char* name, int length, Device /*device*/) {
  std::strncpy(name, "a GPU that is none", static_cast<std::size_t>(length));
  return Result::success;
}
DRIVER(cuDeviceGetUuid, Uuid* uuid, Device device) {
  for (std::size_t i = 0; i < uuid->bytes.size(); ++i) {
    uuid->bytes[i] = static_cast<unsigned char>(0x10 * static_cast<std::size_t>(device) + i);
  }
  return Result::success;
}
DRIVER(cuDeviceGetAttribute, int* value, DeviceAttribute attribute, Device /*device*/) {
  *value = attribute == DeviceAttribute::compute_capability_major ? 9 : 0;
  return Result::success;
}
DRIVER(cuDeviceTotalMem_v2, std::size_t* bytes, Device /*device*/) {
  *bytes = std::size_t{1} << 36;
  return Result::success;
}
DRIVER(cuDevicePrimaryCtxRetain, CUctx_st** context, Device device) {
  *context = &state().contexts.at(static_cast<std::size_t>(device));
  return Result::success;
}
DRIVER(cuDevicePrimaryCtxRelease_v2, Device /*device*/) { return Result::success; }
DRIVER(cuCtxGetCurrent, CUctx_st** context) {
  *context = has_context() ? thread().contexts.back() : nullptr;
  return Result::success;
}
DRIVER(cuCtxPushCurrent_v2, CUctx_st* context) {
  thread().contexts.push_back(context);
  return Result::success;
}
DRIVER(cuCtxPopCurrent_v2, CUctx_st** context) {
  if (!has_context()) return Result::invalid_context;
  *context = thread().contexts.back();
  thread().contexts.pop_back();
  return Result::success;
}

DRIVER(cuMemGetInfo_v2, std::size_t* free, std::size_t* total) {
  *free = *total = std::size_t{1} << 36;
  return Result::success;
}
DRIVER(cuMemAlloc_v2, DevicePtr* data, std::size_t bytes) {
  MAY_FAIL(cuMemAlloc_v2);
  if (!has_context()) return Result::invalid_context;
  if (bytes > std::size_t{1} << 36) return Result::out_of_memory;
  *data = reinterpret_cast<DevicePtr>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  const std::lock_guard lock(state().mutex);
  state().device_memory[*data] = bytes;
  return Result::success;
}
DRIVER(cuMemFree_v2, DevicePtr data) {
  const std::lock_guard lock(state().mutex);
  if (state().device_memory.erase(data) == 0) return Result::invalid_value;
  std::free(pointer(data));
  return Result::success;
}
DRIVER(cuMemHostAlloc, void** data, std::size_t bytes, unsigned int /*flags*/) {
  MAY_FAIL(cuMemHostAlloc);
  if (!has_context()) return Result::invalid_context;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  const std::lock_guard lock(state().mutex);
  state().host_memory.insert(reinterpret_cast<std::uintptr_t>(*data));
  return Result::success;
}
DRIVER(cuMemHostGetDevicePointer_v2, DevicePtr* device_data, void* data, unsigned int /*flags*/) {
  MAY_FAIL(cuMemHostGetDevicePointer_v2);
  *device_data = reinterpret_cast<DevicePtr>(data);
  return Result::success;
}
DRIVER(cuMemFreeHost, void* data) {
  const std::lock_guard lock(state().mutex);
  if (state().host_memory.erase(reinterpret_cast<std::uintptr_t>(data)) == 0) {
    return Result::invalid_value;
  }
  std::free(data);
  return Result::success;
}
DRIVER(cuMemcpyHtoDAsync_v2, DevicePtr to, const void* from, std::size_t bytes,
       CUstream_st* stream) {
  return copy(pointer(to), from, bytes, stream);
}
DRIVER(cuMemcpyDtoHAsync_v2, void* to, DevicePtr from, std::size_t bytes, CUstream_st* stream) {
  return copy(to, pointer(from), bytes, stream);
}
DRIVER(cuMemcpyDtoDAsync_v2, DevicePtr to, DevicePtr from, std::size_t bytes, CUstream_st* stream) {
  return copy(pointer(to), pointer(from), bytes, stream);
}
DRIVER(cuMemsetD8Async, DevicePtr to, unsigned char value, std::size_t bytes, CUstream_st* stream) {
  return queue(stream, [=] { std::memset(pointer(to), value, bytes); });
}
DRIVER(cuMemGetAddressRange_v2, DevicePtr* base, std::size_t* bytes, DevicePtr data) {
  const std::lock_guard lock(state().mutex);
  const auto after = state().device_memory.upper_bound(data);
  if (after == state().device_memory.begin()) return Result::invalid_value;
  *base = std::prev(after)->first;
  *bytes = std::prev(after)->second;
  return Result::success;
}
// A handle has the address of the memory, which is this process's.
DRIVER(cuIpcOpenMemHandle_v2, DevicePtr* data, IpcHandle handle, unsigned int /*flags*/) {
  if (!has_context()) return Result::invalid_context;
  std::memcpy(data, handle.bytes.data(), sizeof(*data));
  const std::lock_guard lock(state().mutex);
  return state().device_memory.contains(*data) ? Result::success : Result::invalid_value;
}
DRIVER(cuIpcCloseMemHandle, DevicePtr data) {
  const std::lock_guard lock(state().mutex);
  return state().device_memory.contains(data) ? Result::success : Result::invalid_value;
}
DRIVER(cuPointerGetAttribute, void* value, PointerAttribute attribute, DevicePtr data) {
  const std::lock_guard lock(state().mutex);
  const bool is_device = state().device_memory.contains(data);
  if (!is_device && !state().host_memory.contains(data)) return Result::invalid_value;
  if (attribute == PointerAttribute::memory_type) {
    *static_cast<MemoryType*>(value) = is_device ? MemoryType::device : MemoryType::host;
  } else {
    *static_cast<int*>(value) = 0;
  }
  return Result::success;
}

DRIVER(cuStreamCreate, CUstream_st** stream, unsigned int /*flags*/) { return make(stream); }
DRIVER(cuStreamDestroy_v2, CUstream_st* stream) { return destroy(stream); }
DRIVER(cuStreamQuery, CUstream_st* /*stream*/) { return Result::success; }
DRIVER(cuStreamSynchronize, CUstream_st* /*stream*/) {
  MAY_FAIL(cuStreamSynchronize);
  return spoil_capture();
}
DRIVER(cuStreamWaitEvent, CUstream_st* /*stream*/, CUevent_st* /*event*/, unsigned int /*flags*/) {
  return Result::success;
}
DRIVER(cuStreamBeginCapture_v2, CUstream_st* stream, CaptureMode /*mode*/) {
  MAY_FAIL(cuStreamBeginCapture_v2);
  stream->status = CaptureStatus::active;
  thread().capturing = stream;
  return Result::success;
}
DRIVER(cuStreamEndCapture, CUstream_st* stream, CUgraph_st** graph) {
  const auto status = std::exchange(stream->status, CaptureStatus::none);
  auto work = std::exchange(stream->work, {});
  thread().capturing = nullptr;
  if (status == CaptureStatus::invalidated) return Result{901};  // ..._CAPTURE_INVALIDATED
  std::vector<CUgraph_st::Dependency> edges;
  for (std::size_t i = 1; i < work.size(); ++i) {  // every other step may begin early
    const auto early = static_cast<unsigned char>(i % 2);
    edges.push_back({node(i - 1), node(i), {early, 0, early, {}}});
  }
  return make(graph, CUgraph_st{std::move(work), std::move(edges)});
}
DRIVER(cuStreamIsCapturing, CUstream_st* stream, CaptureStatus* status) {
  *status = stream->status;
  return Result::success;
}

DRIVER(cuEventCreate, CUevent_st** event, unsigned int flags) {
  return make(event, CUevent_st{(flags & event_disable_timing) == 0, {}});
}
DRIVER(cuEventDestroy_v2, CUevent_st* event) { return destroy(event); }
DRIVER(cuEventRecord, CUevent_st* event, CUstream_st* /*stream*/) {
  event->time = std::chrono::steady_clock::now();
  return Result::success;
}
DRIVER(cuEventQuery, CUevent_st* /*event*/) { return Result::success; }
DRIVER(cuEventSynchronize, CUevent_st* /*event*/) { return spoil_capture(); }
DRIVER(cuEventElapsedTime, float* ms, CUevent_st* start, CUevent_st* end) {
  if (!start->has_timing || !end->has_timing) return Result{400};  // CUDA_ERROR_INVALID_HANDLE
  *ms = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return Result::success;
}

DRIVER(cuGraphInstantiateWithFlags, CUgraphExec_st** exec, CUgraph_st* graph,
       unsigned long long /*flags*/) {
  MAY_FAIL(cuGraphInstantiateWithFlags);
  return make(exec, CUgraphExec_st{graph->work});
}
DRIVER(cuGraphLaunch, CUgraphExec_st* exec, CUstream_st* stream) {
  MAY_FAIL(cuGraphLaunch);
  return queue(stream, [work = exec->work] {
    for (const auto& step : work) step();
  });
}
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the driver's
DRIVER(cuGraphGetEdges_v2, CUgraph_st* graph, CUgraphNode_st** from, CUgraphNode_st** to,
       GraphEdge* edges, std::size_t* count) {
  MAY_FAIL(cuGraphGetEdges_v2);
  *count = graph->edges.size();
  if (from == nullptr) return Result::success;
  for (std::size_t i = 0; i < *count; ++i) {
    from[i] = graph->edges[i].from;
    to[i] = graph->edges[i].to;
    edges[i] = graph->edges[i].edge;
  }
  return Result::success;
}
DRIVER(cuGraphRemoveDependencies_v2, CUgraph_st* graph, CUgraphNode_st* const* from,
       CUgraphNode_st* const* to, const GraphEdge* edges, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto removed = std::erase_if(graph->edges, [&](const CUgraph_st::Dependency& one) {
      return one.from == from[i] && one.to == to[i] && one.edge.type == edges[i].type;
    });
    if (removed != 1) return Result::invalid_value;
  }
  return Result::success;
}
DRIVER(cuGraphAddDependencies_v2, CUgraph_st* graph, CUgraphNode_st* const* from,
       CUgraphNode_st* const* to, const GraphEdge* edges, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    graph->edges.push_back({from[i], to[i], edges == nullptr ? GraphEdge{} : edges[i]});
  }
  return Result::success;
}
DRIVER(cuGraphDestroy, CUgraph_st* graph) { return destroy(graph); }
DRIVER(cuGraphExecDestroy, CUgraphExec_st* exec) { return destroy(exec); }
