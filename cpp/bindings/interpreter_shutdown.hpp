// The end of the interpreter, while threads are in the vendor's code.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/gil.hpp"

namespace fasttrt::bindings {

// What becomes of a call that begins while the interpreter is ending. finish: it frees something.
enum class AtShutdown { refuse, finish };

// A call that may be in the vendor's code for long without being of an engine that close() could
// wait for: parsing, building, loading a plan, warming up, freeing. A process must not end
// meanwhile, as the libraries destroy their static objects then, whatever their other threads do
// (seen: segmentation faults in a build, and in a warm-up, on a daemon thread). Needs the GIL at
// both ends.
class BlockingVendorCall {
 public:
  // Throws Error once the interpreter is ending, if it shall be refused then.
  explicit BlockingVendorCall(AtShutdown at_shutdown = AtShutdown::refuse);
  ~BlockingVendorCall();
  BlockingVendorCall(const BlockingVendorCall&) = delete;
  BlockingVendorCall& operator=(const BlockingVendorCall&) = delete;
};

// For functions that are one, and touch no Python object.
using BlockingVendorCallGuard = pybind11::call_guard<BlockingVendorCall, GilRelease>;

// Whether the interpreter is ending; calls into the vendor's code shall come to their end then.
[[nodiscard]] bool is_shutting_down() noexcept;

// Refuses such calls from now on, and waits for those under way, those that finish included. Needs
// the GIL, and lets go of it meanwhile. Throws what a signal handler throws (Ctrl-C: TensorRT 8.6
// cannot stop a build).
void drain_vendor_calls();

}  // namespace fasttrt::bindings
