// How a test gets at the driver of driver_fake.cpp, if that is the one that is loaded.
#pragma once

#include <cstddef>
#include <optional>

#include "common/error.hpp"
#include "common/shared_library.hpp"
#include "cuda/driver_api.hpp"

namespace fasttrt::cuda {

struct FakeDriver {
  // The next so many calls of a function fail.
  void (*fail)(const char* symbol, int code, int times) = nullptr;
  // Work that takes a while.
  void (*sleep)(CUstream_st* stream, int microseconds) = nullptr;
  // Streams, events, graphs and blocks of memory that were not destroyed.
  std::size_t (*objects)() = nullptr;

  // Empty where the driver is the vendor's, or none.
  [[nodiscard]] static std::optional<FakeDriver> find() {
    try {
      const SharedLibrary library("libcuda.so.1");
      FakeDriver fake{library.find<void(const char*, int, int)>("fasttrt_fake_fail"),
                      library.find<void(CUstream_st*, int)>("fasttrt_fake_sleep"),
                      library.find<std::size_t()>("fasttrt_fake_objects")};
      if (fake.fail != nullptr) return fake;
    } catch (const LibraryNotFoundError&) {
      return std::nullopt;
    }
    return std::nullopt;
  }
};

}  // namespace fasttrt::cuda
