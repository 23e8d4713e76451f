#include "cuda/status.hpp"

#include <string>

#include "common/error.hpp"

namespace fasttrt::cuda {

void fail(const DriverApi& api, Result code, std::string_view call) {
  const char* name = nullptr;
  const char* text = nullptr;
  // Either stays null for a code that this driver does not know.
  ignore(api.get_error_name(code, &name));
  ignore(api.get_error_string(code, &text));

  const int number = static_cast<int>(code);
  std::string message(call);
  message += " failed: ";
  message += name != nullptr ? name : "unknown CUDA error";
  message += " (" + std::to_string(number) + ")";
  if (text != nullptr) message += std::string(": ") + text;

  if (code == Result::out_of_memory) throw OutOfMemoryError(message);
  throw CudaError(message, number, std::string(call));
}

}  // namespace fasttrt::cuda
