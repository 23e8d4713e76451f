#include "cuda/stream.hpp"

#include <utility>

#include "cuda/event.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {

void StreamRef::synchronize() const {
  check(driver().stream_synchronize(handle_), "cuStreamSynchronize");
}

bool StreamRef::is_done() const {
  return check_ready(driver().stream_query(handle_), "cuStreamQuery");
}

bool StreamRef::is_capturing() const {
  auto status = CaptureStatus::none;
  check(driver().stream_is_capturing(handle_, &status), "cuStreamIsCapturing");
  return status != CaptureStatus::none;
}

void StreamRef::wait(EventRef event) const {
  check(driver().stream_wait_event(handle_, event.handle(), 0), "cuStreamWaitEvent");
}

Stream::Stream(std::shared_ptr<PrimaryContext> context) : Owned(std::move(context), nullptr) {
  const ContextGuard guard(*this->context());
  check(driver().stream_create(&handle_, stream_non_blocking), "cuStreamCreate");
}

}  // namespace fasttrt::cuda
