// From driver results to exceptions.
#pragma once

#include <string_view>

#include "cuda/driver_api.hpp"

namespace fasttrt::cuda {

// Throws for a failed call, named as its symbol ("cuMemAlloc_v2").
[[noreturn]] void fail(const DriverApi& api, Result code, std::string_view call);

// Throws OutOfMemoryError for CUDA_ERROR_OUT_OF_MEMORY, CudaError for any other failure:
//   check(driver().mem_alloc(&data, bytes), "cuMemAlloc_v2");
inline void check(Result code, std::string_view call) {
  if (code != Result::success) [[unlikely]] {
    fail(driver(), code, call);
  }
}

// For queries: true for success, false for CUDA_ERROR_NOT_READY; throws for anything else.
[[nodiscard]] inline bool check_ready(Result code, std::string_view call) {
  if (code == Result::not_ready) return false;
  check(code, call);
  return true;
}

// For destructors, which have nobody to tell: at process exit the driver may be gone already.
inline void ignore(Result /*code*/) noexcept {}

}  // namespace fasttrt::cuda
