#include "cuda/event.hpp"

#include <utility>

#include "cuda/status.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {

void EventRef::record(StreamRef stream) const {
  check(driver().event_record(event_, stream.handle()), "cuEventRecord");
}

void EventRef::synchronize() const {
  check(driver().event_synchronize(event_), "cuEventSynchronize");
}

bool EventRef::is_done() const { return check_ready(driver().event_query(event_), "cuEventQuery"); }

Event::Event(std::shared_ptr<PrimaryContext> context, EventTiming timing, EventWait wait)
    : EventRef(static_cast<CUevent_st*>(nullptr)), context_(std::move(context)) {
  const unsigned int flags = (timing == EventTiming::off ? kEventDisableTiming : 0U) |
                             (wait == EventWait::block ? kEventBlockingSync : 0U);
  const ContextGuard guard(*context_);
  check(driver().event_create(&event_, flags), "cuEventCreate");
}

Event::~Event() { reset(); }

Event::Event(Event&& other) noexcept
    : EventRef(std::exchange(other.event_, nullptr)), context_(std::move(other.context_)) {}

Event& Event::operator=(Event&& other) noexcept {
  if (this != &other) {
    reset();
    event_ = std::exchange(other.event_, nullptr);
    context_ = std::move(other.context_);
  }
  return *this;
}

CUevent_st* Event::release() noexcept {
  context_.reset();
  return std::exchange(event_, nullptr);
}

void Event::reset() noexcept {
  if (event_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().event_destroy(event_));
  event_ = nullptr;
}

float elapsed_ms(EventRef start, EventRef end) {
  float milliseconds = 0;
  check(driver().event_elapsed_time(&milliseconds, start.handle(), end.handle()),
        "cuEventElapsedTime");
  return milliseconds;
}

}  // namespace fasttrt::cuda
