// The end of the interpreter, while threads are in the vendor's code.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/gil.hpp"

namespace fasttrt::bindings {

// A call that may be in the vendor's code for long without being of an engine that close() could
// wait for: parsing, building, loading a plan. A process must not end meanwhile, as the libraries
// destroy their static objects then, whatever their other threads do (seen: segmentation faults
// in a build on a daemon thread). Needs the GIL at both ends.
class BlockingVendorCall {
 public:
  // Throws Error once the interpreter is ending.
  BlockingVendorCall();
  ~BlockingVendorCall();
  BlockingVendorCall(const BlockingVendorCall&) = delete;
  BlockingVendorCall& operator=(const BlockingVendorCall&) = delete;
};

// For functions that are one, and touch no Python object.
using BlockingVendorCallGuard = pybind11::call_guard<BlockingVendorCall, GilRelease>;

// Whether the interpreter is ending; calls into the vendor's code shall come to their end then.
[[nodiscard]] bool is_shutting_down() noexcept;

// Refuses such calls from now on, and waits for those under way. Needs the GIL, and lets go of it
// meanwhile. Throws what a signal handler throws (Ctrl-C: TensorRT 8.6 cannot stop a build).
void drain_vendor_calls();

}  // namespace fasttrt::bindings
