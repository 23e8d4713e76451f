// Waiting without the GIL, in which Ctrl-C is heeded.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

#include "bindings/gil.hpp"

namespace fasttrt::bindings {

using Clock = std::chrono::steady_clock;

// So many seconds from now; none: never, as for what lies beyond the clock's range.
[[nodiscard]] inline std::optional<Clock::time_point> time_after(std::optional<double> seconds) {
  constexpr double longest = 1e9;
  if (!seconds || *seconds > longest) return std::nullopt;
  const std::chrono::duration<double> time(std::max(*seconds, 0.0));
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
}

// Whether wait_until(a time) is true by `end`. Needs the GIL, and lets go of it while it waits: it
// must touch no Python object. Throws what a signal handler throws.
template <class WaitUntil>
[[nodiscard]] bool wait_heeding_signals(std::optional<Clock::time_point> end,
                                        const WaitUntil& wait_until) {
  constexpr std::chrono::milliseconds interval(50);
  for (;;) {
    bool is_over = false;
    bool is_late = false;
    {
      const GilRelease release;
      const auto now = Clock::now();
      is_over = wait_until(end ? std::min(*end, now + interval) : now + interval);
      is_late = !is_over && end && Clock::now() >= *end;
    }
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    if (is_over || is_late) return is_over;
  }
}

}  // namespace fasttrt::bindings
