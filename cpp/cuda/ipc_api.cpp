#include "cuda/ipc_api.hpp"

#include <string>
#include <tuple>

#include "common/error.hpp"
#include "common/shared_library.hpp"

namespace fasttrt::cuda {
namespace {

template <class Function>
void resolve_ipc(Function*& field, const SharedLibrary& library, const char* symbol) {
  field = library.find<Function>(symbol);
  if (field != nullptr) return;
  throw CudaError(library.path().string() + " lacks " + symbol + ", so memory cannot be shared", -1,
                  std::string("dlsym(") + symbol + ")");
}

IpcApi load_ipc() {
  std::ignore = driver();  // which is initialised then
  const SharedLibrary library("libcuda.so.1");
  IpcApi api;
#define FASTTRT_CUDA_IPC_RESOLVE(field, symbol, parameters) \
  resolve_ipc(api.field, library, #symbol);
  FASTTRT_CUDA_IPC_FUNCTIONS(FASTTRT_CUDA_IPC_RESOLVE)
#undef FASTTRT_CUDA_IPC_RESOLVE
  return api;
}

}  // namespace

const IpcApi& ipc() {
  static const IpcApi api = load_ipc();
  return api;
}

}  // namespace fasttrt::cuda
