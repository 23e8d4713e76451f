// Letting go of the GIL around what waits.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <functional>

namespace fasttrt::bindings {

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
      for (;;) pause();
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
      for (;;) pause();
    }
  }
  ~GilAcquire() { PyGILState_Release(state_); }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_ = PyGILState_UNLOCKED;
};

// Does the work with the GIL, so that no other thread of Python's starts anything meanwhile. For
// work of a millisecond on a thread that has let go of the GIL.
inline void with_gil(const std::function<void()>& work) {
  const pybind11::gil_scoped_acquire gil;
  work();
}

using ReleaseGil = pybind11::call_guard<GilRelease>;

}  // namespace fasttrt::bindings
