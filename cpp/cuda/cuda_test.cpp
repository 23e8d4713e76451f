#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "cuda/device.hpp"
#include "cuda/driver_fake.hpp"
#include "cuda/event.hpp"
#include "cuda/graph.hpp"
#include "cuda/memory.hpp"
#include "cuda/status.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {
namespace {

constexpr std::size_t block_bytes = 1 << 20;
constexpr std::size_t absurd_bytes = std::size_t{1} << 50;

static_assert(!std::is_constructible_v<StreamRef, int>);
static_assert(!std::is_constructible_v<StreamRef, std::nullptr_t>);
static_assert(!std::is_constructible_v<EventRef, std::nullptr_t>);
static_assert(std::is_convertible_v<Stream&, StreamRef>);
static_assert(!std::is_copy_constructible_v<Stream> && std::is_nothrow_move_assignable_v<Stream>);
static_assert(!std::is_copy_constructible_v<Event> && std::is_nothrow_move_assignable_v<Event>);
static_assert(!std::is_copy_constructible_v<GraphExec>);
static_assert(!std::is_copy_constructible_v<DeviceBuffer>);
static_assert(!std::is_move_constructible_v<ContextGuard>);

bool gpu_is_missing() {
  const std::string problem = driver_problem();
  if (!problem.empty()) MESSAGE("not tested without a GPU: " << problem);
  return !problem.empty();
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): how many, and which
void fill_randomly(void* data, std::size_t bytes, unsigned int seed) {
  std::mt19937 random(seed);
  for (auto& byte : std::span(static_cast<unsigned char*>(data), bytes)) {
    byte = static_cast<unsigned char>(random());
  }
}

bool same(const PinnedBuffer& a, const PinnedBuffer& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

CUctx_st* current_context() {
  CUctx_st* context = nullptr;
  check(driver().ctx_get_current(&context), "cuCtxGetCurrent");
  return context;
}

// A device with one of each; every test of the GPU starts from it.
struct Gpu {
  std::shared_ptr<PrimaryContext> context = PrimaryContext::retain(0);
  ContextGuard guard{*context};
  Stream stream{context};
  PinnedBuffer source{context, block_bytes};
  PinnedBuffer result{context, block_bytes};
  DeviceBuffer memory{context, block_bytes};

  Gpu() { fill_randomly(source.data(), block_bytes, 1); }

  void queue_round_trip() const {
    copy_to_device(memory.data(), source.data(), block_bytes, stream);
    copy_to_host(result.data(), memory.data(), block_bytes, stream);
  }
  [[nodiscard]] bool round_trip_works() const {
    std::memset(result.data(), 0, block_bytes);
    queue_round_trip();
    stream.synchronize();
    return same(source, result);
  }
};

TEST_SUITE_BEGIN("cuda");

TEST_CASE("without a usable driver every entry throws the same error, again and again") {
  const std::string problem = driver_problem();
  if (problem.empty()) return;
  CHECK(driver_problem() == problem);
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS((void)driver(), CudaError);
    CHECK_THROWS_AS((void)device_count(), CudaError);
    CHECK_THROWS_AS((void)device_info(0), CudaError);
    CHECK_THROWS_AS((void)PrimaryContext::retain(0), CudaError);
  }
  try {
    (void)driver();
  } catch (const CudaError& error) {
    CHECK(error.what() == problem);
    CHECK(error.code() != 0);
    CHECK_FALSE(error.call().empty());
  }
}

TEST_CASE("an empty buffer has no device to grow on") {
  DeviceBuffer buffer;
  CHECK(buffer.data() == nullptr);
  CHECK_THROWS_AS(buffer.grow(1), CudaError);
  CHECK(PinnedBuffer().data() == nullptr);
}

TEST_CASE("a device is described, and a bad ordinal refused with the valid range") {
  if (gpu_is_missing()) return;
  const DeviceInfo info = device_info(0);
  CHECK_FALSE(info.name.empty());
  CHECK(info.uuid.size() == 40);
  CHECK(info.uuid.starts_with("GPU-"));
  if (FakeDriver::find()) CHECK(info.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
  CHECK(info.major > 0);
  CHECK(info.total_memory > 0);
  CHECK(info.driver_version >= 11040);
  CHECK_THROWS_WITH_AS((void)device_info(-1), doctest::Contains("valid are 0 to"), CudaError);
  CHECK_THROWS_AS((void)PrimaryContext::retain(device_count()), CudaError);
}

TEST_CASE("a failed call names itself, the code and its meaning") {
  if (gpu_is_missing()) return;
  CHECK_THROWS_WITH_AS(check(Result::invalid_value, "cuCall"),
                       doctest::Contains("cuCall failed: CUDA_ERROR_INVALID_VALUE (1): "),
                       CudaError);
  CHECK_THROWS_WITH_AS(check(Result{-7}, "cuCall"), doctest::Contains("(-7)"), CudaError);
  CHECK_THROWS_AS(check(Result::out_of_memory, "cuCall"), OutOfMemoryError);
}

TEST_CASE("bytes survive the way through pinned and device memory") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  CHECK(gpu.round_trip_works());
  CHECK(gpu.stream.is_done());

  const DeviceBuffer copy(gpu.context, block_bytes);
  copy_on_device(copy.data(), gpu.memory.data(), block_bytes, gpu.stream);
  fill_on_device(gpu.memory.data(), 0, block_bytes, gpu.stream);
  copy_to_host(gpu.result.data(), copy.data(), block_bytes, gpu.stream);
  copy_to_host(nullptr, nullptr, 0, gpu.stream);
  gpu.stream.synchronize();
  CHECK(same(gpu.source, gpu.result));

  CHECK(device_of(gpu.memory.data()) == 0);
  CHECK_FALSE(device_of(gpu.source.data()).has_value());
  CHECK_FALSE(device_of(&gpu).has_value());
}

TEST_CASE("the device writes mapped memory, and the host sees it") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  const PinnedBuffer mapped(gpu.context, block_bytes, HostMemory::mapped);
  REQUIRE(mapped.device_data() != nullptr);
  CHECK(gpu.source.device_data() == nullptr);
  copy_to_device(gpu.memory.data(), gpu.source.data(), block_bytes, gpu.stream);
  copy_on_device(mapped.device_data(), gpu.memory.data(), block_bytes, gpu.stream);
  gpu.stream.synchronize();
  CHECK(same(mapped, gpu.source));
}

TEST_CASE("an event orders two streams and takes the time") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  const Stream other(gpu.context);
  const Event start(gpu.context, EventTiming::on);
  const Event end(gpu.context, EventTiming::on, EventWait::block);
  start.record(gpu.stream);
  for (int i = 0; i < 100; ++i) fill_on_device(gpu.memory.data(), 0, block_bytes, gpu.stream);
  copy_to_device(gpu.memory.data(), gpu.source.data(), block_bytes, gpu.stream);
  end.record(gpu.stream);
  other.wait(end);
  copy_to_host(gpu.result.data(), gpu.memory.data(), block_bytes, other);
  other.synchronize();
  CHECK(same(gpu.source, gpu.result));
  CHECK(end.is_done());
  end.synchronize();
  CHECK(elapsed_ms(start, end) > 0);

  const Event untimed(gpu.context);
  untimed.record(gpu.stream);
  untimed.synchronize();
  CHECK_THROWS_AS((void)elapsed_ms(untimed, end), CudaError);
}

TEST_CASE("a captured copy runs at launch, with the bytes of then") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  std::memset(gpu.result.data(), 0, block_bytes);
  GraphExec exec;
  CHECK_FALSE(exec);
  CHECK_THROWS_AS(GraphExec{Graph{}}, CudaError);
  {
    StreamCapture capture(gpu.context, gpu.stream);
    CHECK(gpu.stream.is_capturing());
    gpu.queue_round_trip();
    const Graph graph = capture.end();
    CHECK(graph);
    exec = GraphExec(graph);
    CHECK_THROWS_AS((void)capture.end(), CudaError);
  }
  gpu.stream.synchronize();
  CHECK_FALSE(same(gpu.source, gpu.result));
  for (const unsigned int seed : {2U, 3U}) {
    fill_randomly(gpu.source.data(), block_bytes, seed);
    exec.launch(gpu.stream);
    gpu.stream.synchronize();
    CHECK(same(gpu.source, gpu.result));
  }
}

TEST_CASE("nodes of a captured graph wait for the end of those before them") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  const auto get_edges = driver().graph_get_edges;
  if (get_edges == nullptr) return;  // before CUDA 12.3
  StreamCapture capture(gpu.context, gpu.stream);
  gpu.queue_round_trip();
  gpu.queue_round_trip();
  const Graph graph = capture.end();
  std::size_t count = 0;
  check(get_edges(graph.handle(), nullptr, nullptr, nullptr, &count), "cuGraphGetEdges_v2");
  REQUIRE(count >= 3);
  std::vector<CUgraphNode_st*> from(count);
  std::vector<CUgraphNode_st*> to(count);
  std::vector<GraphEdge> edges(count, GraphEdge{9, 9, 9, {}});
  check(get_edges(graph.handle(), from.data(), to.data(), edges.data(), &count),
        "cuGraphGetEdges_v2");
  CHECK(std::ranges::all_of(edges, [](const GraphEdge& edge) {
    return edge.from_port == 0 && edge.to_port == 0 && edge.type == 0;
  }));
  for (std::size_t i = 0; i < count; ++i) CHECK(from[i] != to[i]);
  CHECK(std::set(to.begin(), to.end()).size() == count);  // a chain, as before
}

TEST_CASE("a capture given up or spoilt leaves the stream usable") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  const auto give_up = [&gpu] {
    const StreamCapture capture(gpu.context, gpu.stream);
    gpu.queue_round_trip();
    throw std::runtime_error("midway");
  };
  CHECK_THROWS_AS(give_up(), std::runtime_error);
  CHECK_FALSE(gpu.stream.is_capturing());
  CHECK(gpu.round_trip_works());

  const auto spoil = [&gpu] {
    StreamCapture capture(gpu.context, gpu.stream);
    CHECK_THROWS_AS(gpu.stream.synchronize(), CudaError);
    (void)capture.end();
  };
  CHECK_THROWS_AS(spoil(), CudaError);
  CHECK_FALSE(gpu.stream.is_capturing());
  CHECK(gpu.round_trip_works());
}

TEST_CASE("a guard restores the context that was current, on any thread") {
  if (gpu_is_missing()) return;
  const Gpu gpu;
  CHECK(current_context() == gpu.context->handle());
  const auto on_thread = [&gpu] {
    const auto last = PrimaryContext::retain(device_count() - 1);
    CHECK(current_context() == nullptr);
    {
      const ContextGuard outer(*gpu.context);
      {
        const ContextGuard inner(*last);
        CHECK(current_context() == last->handle());
      }
      CHECK(current_context() == gpu.context->handle());
    }
    CHECK(current_context() == nullptr);
    // Owners bring their own guard.
    const DeviceBuffer buffer(last, block_bytes);
    const Event event{Event(last)};
    CHECK(current_context() == nullptr);
  };
  std::async(std::launch::async, on_thread).get();
  CHECK(current_context() == gpu.context->handle());
}

TEST_CASE("out of memory is its own error, and work goes on after it") {
  if (gpu_is_missing()) return;
  Gpu gpu;
  CHECK_THROWS_AS(DeviceBuffer(gpu.context, absurd_bytes), OutOfMemoryError);
  CHECK_THROWS_AS(gpu.memory.grow(absurd_bytes), OutOfMemoryError);
  CHECK(gpu.memory.data() == nullptr);
  CHECK(gpu.memory.size() == 0);
  gpu.memory.grow(block_bytes);
  CHECK(gpu.round_trip_works());
  CHECK(memory_info().free <= memory_info().total);
}

TEST_CASE("owners move, keep what is large enough, and allocate something for nothing") {
  if (gpu_is_missing()) return;
  Gpu gpu;
  const void* data = gpu.memory.data();
  gpu.memory.grow(block_bytes / 2);
  CHECK(gpu.memory.data() == data);
  CHECK(gpu.memory.size() == block_bytes);

  DeviceBuffer moved = std::move(gpu.memory);
  CHECK(moved.data() == data);
  gpu.memory = DeviceBuffer(gpu.context, 0);
  CHECK(gpu.memory.data() != nullptr);
  CHECK(gpu.memory.size() == 0);
  gpu.memory = std::move(moved);
  gpu.stream = Stream(gpu.context);
  gpu.source = std::exchange(gpu.result, PinnedBuffer(gpu.context, block_bytes));
  CHECK(gpu.round_trip_works());

  Stream released(gpu.context);
  CUstream_st* handle = released.release();
  CHECK(driver().stream_destroy(handle) == Result::success);
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::cuda
