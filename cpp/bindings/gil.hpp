// Letting go of the GIL around what waits.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <array>
#include <functional>

namespace fasttrt::bindings {

// What becomes of a thread that the interpreter's exit has caught.
[[noreturn]] inline void sleep_forever() noexcept {
  for (;;) pause();
}

// Releases the GIL for a scope. At the interpreter's exit, Python ends a thread that asks for the
// GIL again by unwinding its stack (before 3.14), which would end the process from a destructor;
// such a thread is left to sleep instead, as Python 3.14 does itself. Only GNU's C++ library has a
// type for the unwinding; nothing else comes out of these calls.
class GilRelease {
 public:
  GilRelease() noexcept : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      sleep_forever();
    }
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// Holds the GIL for a scope, on a thread that is not Python's. At the interpreter's exit such a
// thread is left to sleep, as above.
class GilAcquire {
 public:
  GilAcquire() noexcept {
    try {
      state_ = PyGILState_Ensure();
    } catch (...) {
      sleep_forever();
    }
  }
  ~GilAcquire() {
    while (PyGILState_Check() == 0) pause();  // Python is unwinding this thread
    PyGILState_Release(state_);
  }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_ = PyGILState_UNLOCKED;
};

// Returns function(arrays, out), in a GilAcquire: as it may let go of the GIL, the end of the
// interpreter may be in it.
[[nodiscard]] inline pybind11::object call_runner(pybind11::handle function,
                                                  pybind11::handle arrays, pybind11::handle out) {
  const std::array<PyObject*, 2> arguments{arrays.ptr(), out.ptr()};
  PyObject* result = nullptr;
  try {
    // Not by pybind11, whose temporary objects would be let go of without the GIL.
    result = PyObject_Vectorcall(function.ptr(), arguments.data(), arguments.size(), nullptr);
  } catch (...) {
    sleep_forever();
  }
  if (result == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(result);
}

// Does the work with the GIL, so that no other thread of Python's starts anything meanwhile, unless
// Python has no GIL. For work of a millisecond on a thread that has let go of the GIL.
inline void with_gil(const std::function<void()>& work) {
  const pybind11::gil_scoped_acquire gil;
  work();
}

using ReleaseGil = pybind11::call_guard<GilRelease>;

}  // namespace fasttrt::bindings
