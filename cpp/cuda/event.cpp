#include "cuda/event.hpp"

#include <utility>

#include "cuda/status.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {

void EventRef::record(StreamRef stream) const {
  check(driver().event_record(handle_, stream.handle()), "cuEventRecord");
}

void EventRef::synchronize() const {
  check(driver().event_synchronize(handle_), "cuEventSynchronize");
}

bool EventRef::is_done() const {
  return check_ready(driver().event_query(handle_), "cuEventQuery");
}

Event::Event(std::shared_ptr<PrimaryContext> context, EventTiming timing, EventWait wait)
    : Owned(std::move(context), nullptr) {
  const unsigned int flags = (timing == EventTiming::off ? event_disable_timing : 0U) |
                             (wait == EventWait::block ? event_blocking_sync : 0U);
  const ContextGuard guard(*this->context());
  check(driver().event_create(&handle_, flags), "cuEventCreate");
}

float elapsed_ms(EventRef start, EventRef end) {
  float milliseconds = 0;
  check(driver().event_elapsed_time(&milliseconds, start.handle(), end.handle()),
        "cuEventElapsedTime");
  return milliseconds;
}

}  // namespace fasttrt::cuda
