#include "cuda/driver_api.hpp"

#include <exception>

#include "common/error.hpp"
#include "common/shared_library.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {
namespace {

// The code of failures that come before the driver has any to give.
constexpr int no_driver = -1;

SharedLibrary open_driver() {
  try {
    return SharedLibrary("libcuda.so.1");
  } catch (const LibraryNotFoundError& error) {
    throw CudaError(std::string("the CUDA driver library cannot be loaded (") + error.what() +
                        "); it comes with the NVIDIA driver",
                    no_driver, "dlopen(libcuda.so.1)");
  }
}

template <class Function>
void find(Function*& field, const SharedLibrary& library, const char* symbol) {
  field = library.find<Function>(symbol);
}

template <class Function>
void resolve(Function*& field, const SharedLibrary& library, const char* symbol) {
  find(field, library, symbol);
  if (field == nullptr) {
    throw CudaError(library.path().string() + " lacks " + symbol +
                        "; fasttrt needs an NVIDIA driver for CUDA 11.4 or newer",
                    no_driver, std::string("dlsym(") + symbol + ")");
  }
}

DriverApi load_driver() {
  const SharedLibrary library = open_driver();
  DriverApi api;
#define FASTTRT_CUDA_RESOLVE(field, symbol, parameters) resolve(api.field, library, #symbol);
  FASTTRT_CUDA_FUNCTIONS(FASTTRT_CUDA_RESOLVE)
#undef FASTTRT_CUDA_RESOLVE
#define FASTTRT_CUDA_FIND(field, symbol, parameters) find(api.field, library, #symbol);
  FASTTRT_CUDA_NEWER_FUNCTIONS(FASTTRT_CUDA_FIND)
#undef FASTTRT_CUDA_FIND
  // Not check(), which asks driver() for the table that is still being made.
  if (const Result code = api.init(0); code != Result::success) fail(api, code, "cuInit");
  return api;
}

}  // namespace

const DriverApi& driver() {
  // An initialisation that throws counts as none: the next call makes a new attempt.
  static const DriverApi api = load_driver();
  return api;
}

std::string driver_problem() noexcept {
  try {
    int count = 0;
    check(driver().device_get_count(&count), "cuDeviceGetCount");
    return count > 0 ? "" : "the CUDA driver is loaded but shows no device";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace fasttrt::cuda
