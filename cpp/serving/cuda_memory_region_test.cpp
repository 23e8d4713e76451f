#include "serving/cuda_memory_region.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "common/error.hpp"
#include "cuda/device.hpp"
#include "cuda/driver_fake.hpp"
#include "cuda/memory.hpp"

namespace fasttrt::serving {
namespace {

// The fake driver's handles have addresses of this process; the real one opens none of its own.
std::string handle_of(const void* data) {
  std::string handle(sizeof(cuda::IpcHandle), '\0');
  std::memcpy(handle.data(), static_cast<const void*>(&data), sizeof(data));
  return handle;
}

TEST_CASE("A region is a part of a GPU's memory") {
  if (!cuda::FakeDriver::find()) return;
  const cuda::DeviceBuffer buffer(cuda::PrimaryContext::retain(0), 1000);
  const CudaMemoryRegion region(handle_of(buffer.data()), 0, 900);
  CHECK(region.size() == 900);
  CHECK(region.device() == 0);
  region.write(3, "abcdef");
  std::string found(4, '?');
  region.read(4, found);
  CHECK(found == "bcde");
  CHECK(region.has(0, 900));
  CHECK(!region.has(1, 900));
}

TEST_CASE("What is no memory is refused") {
  if (!cuda::FakeDriver::find()) return;
  const cuda::DeviceBuffer buffer(cuda::PrimaryContext::retain(0), 1000);
  const auto handle = handle_of(buffer.data());
  CHECK_NOTHROW(CudaMemoryRegion(handle, 0, 1000));
  CHECK_THROWS_AS(CudaMemoryRegion(handle, 0, 1001), InputError);
  CHECK_THROWS_AS(CudaMemoryRegion(handle, 0, 0), InputError);
  CHECK_THROWS_AS(CudaMemoryRegion(handle, 99, 1), InputError);
  CHECK_THROWS_AS(CudaMemoryRegion(handle.substr(1), 0, 1), InputError);
  CHECK_THROWS_AS(CudaMemoryRegion(std::string(64, 'x'), 0, 1), InputError);
}

}  // namespace
}  // namespace fasttrt::serving
