// The functions of the Python half that the core calls: all of them are named here.
#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include <utility>

namespace fasttrt::bindings {

// A function of a Python module, looked up by the first call. Needs the GIL.
class PythonFunction {
 public:
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in an import
  constexpr PythonFunction(const char* module, const char* name) : module_(module), name_(name) {}

  template <class... Arguments>
  pybind11::object operator()(Arguments&&... arguments) const {
    const auto& function = function_
                               .call_once_and_store_result([this] {
                                 return pybind11::module_::import(module_).attr(name_);
                               })
                               .get_stored();
    return function(std::forward<Arguments>(arguments)...);
  }

 private:
  const char* module_;
  const char* name_;
  mutable pybind11::gil_safe_call_once_and_store<pybind11::object> function_;
};

// Array libraries are known to Python alone.
inline constinit const PythonFunction is_device_array{"fasttrt._runtime.arrays", "is_device_array"};
inline constinit const PythonFunction framework_stream{"fasttrt._runtime.arrays", "current_stream"};
inline constinit const PythonFunction to_contiguous{"fasttrt._runtime.arrays", "contiguous"};
inline constinit const PythonFunction empty_like_framework{"fasttrt._runtime.arrays",
                                                           "empty_like_framework"};
inline constinit const PythonFunction to_framework{"fasttrt._runtime.arrays", "to_framework"};

// A numpy array, which has no mask.
inline constinit const PythonFunction host_array{"fasttrt._common.host_array", "host_array"};

// The ordinal of a GPU as it is given everywhere: a number, "cuda:N", a torch.device.
inline constinit const PythonFunction gpu_ordinal{"fasttrt._library.device", "gpu_ordinal"};

}  // namespace fasttrt::bindings
