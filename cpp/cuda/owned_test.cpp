#include "cuda/owned.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "common/error.hpp"
#include "cuda/driver_fake.hpp"
#include "cuda/event.hpp"
#include "cuda/graph.hpp"
#include "cuda/memory.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {
namespace {

template <class T>
constexpr bool is_move_only =
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>;
static_assert(is_move_only<Stream> && is_move_only<Event> && is_move_only<Graph> &&
              is_move_only<GraphExec> && is_move_only<DeviceBuffer> && is_move_only<PinnedBuffer>);

TEST_SUITE_BEGIN("owned");

template <class Make>
void check_owner(const FakeDriver& driver, const Make& make) {
  const auto before = driver.objects();
  {
    auto first = make();
    auto second = make();
    CHECK(driver.objects() == before + 2);
    second = std::move(first);
    CHECK(driver.objects() == before + 1);
    const auto third = std::move(second);
    CHECK(driver.objects() == before + 1);
    CHECK(third.context() != nullptr);
    first = make();  // NOLINT(bugprone-use-after-move): that is what may be done
    CHECK(driver.objects() == before + 2);
    auto& same = first;
    first = std::move(same);
    CHECK(driver.objects() == before + 2);
    std::thread([owned = std::move(first)] {}).join();  // where no context is current
    CHECK(driver.objects() == before + 1);
  }
  CHECK(driver.objects() == before);
}

TEST_CASE("each owner destroys what it has once, on any thread") {
  const auto driver = FakeDriver::find();
  if (!driver) return;
  const auto context = PrimaryContext::retain(0);
  check_owner(*driver, [&] { return Stream(context); });
  check_owner(*driver, [&] { return Event(context); });
  check_owner(*driver, [&] { return DeviceBuffer(context, 100); });
  check_owner(*driver, [&] { return PinnedBuffer(context, 100, HostMemory::mapped); });
  const ContextGuard guard(*context);
  const Stream stream(context);
  const auto capture = [&] { return StreamCapture(context, stream).end(); };
  check_owner(*driver, capture);
  const auto graph = capture();
  check_owner(*driver, [&] { return GraphExec(graph); });
}

TEST_CASE("what was released is the caller's") {
  const auto driver = FakeDriver::find();
  if (!driver) return;
  const auto context = PrimaryContext::retain(0);
  const ContextGuard guard(*context);
  const auto before = driver->objects();
  Event event(context);
  auto* const handle = event.release();
  CHECK(event.handle() == nullptr);
  CHECK(event.context() == nullptr);
  CHECK(driver->objects() == before + 1);
  CHECK(fasttrt::cuda::driver().event_destroy(handle) == Result::success);
  CHECK(driver->objects() == before);
}

TEST_CASE("buffers that moved are empty, and nothing is left of what was half made") {
  const auto driver = FakeDriver::find();
  if (!driver) return;
  const auto context = PrimaryContext::retain(0);
  const auto before = driver->objects();
  DeviceBuffer buffer(context, 100);
  const DeviceBuffer other = std::move(buffer);
  CHECK(other.size() == 100);
  CHECK(buffer.size() == 0);  // NOLINT(bugprone-use-after-move)
  CHECK(buffer.data() == nullptr);
  driver->fail("cuMemHostGetDevicePointer_v2", 1, 1);
  CHECK_THROWS_AS(PinnedBuffer(context, 100, HostMemory::mapped), CudaError);
  CHECK(driver->objects() == before + 1);
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::cuda
