#include "cuda/stream.hpp"

#include <utility>

#include "cuda/event.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {

void StreamRef::synchronize() const {
  check(driver().stream_synchronize(stream_), "cuStreamSynchronize");
}

bool StreamRef::is_done() const {
  return check_ready(driver().stream_query(stream_), "cuStreamQuery");
}

bool StreamRef::is_capturing() const {
  auto status = CaptureStatus::none;
  check(driver().stream_is_capturing(stream_, &status), "cuStreamIsCapturing");
  return status != CaptureStatus::none;
}

void StreamRef::wait(EventRef event) const {
  check(driver().stream_wait_event(stream_, event.handle(), 0), "cuStreamWaitEvent");
}

Stream::Stream(std::shared_ptr<PrimaryContext> context)
    : StreamRef(static_cast<CUstream_st*>(nullptr)), context_(std::move(context)) {
  const ContextGuard guard(*context_);
  check(driver().stream_create(&stream_, kStreamNonBlocking), "cuStreamCreate");
}

Stream::~Stream() { reset(); }

Stream::Stream(Stream&& other) noexcept
    : StreamRef(std::exchange(other.stream_, nullptr)), context_(std::move(other.context_)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this != &other) {
    reset();
    stream_ = std::exchange(other.stream_, nullptr);
    context_ = std::move(other.context_);
  }
  return *this;
}

CUstream_st* Stream::release() noexcept {
  context_.reset();
  return std::exchange(stream_, nullptr);
}

void Stream::reset() noexcept {
  if (stream_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().stream_destroy(stream_));
  stream_ = nullptr;
}

}  // namespace fasttrt::cuda
