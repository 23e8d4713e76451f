// Events: marks in a stream that others wait for, or that take the time.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/device.hpp"
#include "cuda/owned.hpp"

namespace fasttrt::cuda {

class StreamRef;

// An event that somebody else owns. Its members need a current context (ContextGuard) and throw
// CudaError.
class EventRef {
 public:
  using Handle = CUevent_st*;
  EventRef(CUevent_st* event) noexcept : handle_(event) {}  // NOLINT(*-explicit-*)
  EventRef(int) = delete;
  EventRef(std::nullptr_t) = delete;

  // Marks the work queued in the stream so far; replaces an earlier mark.
  void record(StreamRef stream) const;
  // Waits for the marked work; returns at once if nothing was ever recorded.
  void synchronize() const;
  [[nodiscard]] bool is_done() const;

  [[nodiscard]] CUevent_st* handle() const noexcept { return handle_; }
  friend bool operator==(EventRef, EventRef) noexcept = default;

 protected:
  CUevent_st* handle_;
};

// Without timing, recording and waiting are cheaper.
enum class EventTiming { off, on };

// How synchronize() waits: spin has the lower latency, block leaves the CPU core to others.
enum class EventWait { spin, block };

// Owns an event. Use it as an EventRef.
class Event : public Owned<EventRef, &DriverApi::event_destroy> {
 public:
  explicit Event(std::shared_ptr<PrimaryContext> context, EventTiming timing = EventTiming::off,
                 EventWait wait = EventWait::spin);
};

// Milliseconds of GPU time between two events with timing, both done.
[[nodiscard]] float elapsed_ms(EventRef start, EventRef end);

}  // namespace fasttrt::cuda
