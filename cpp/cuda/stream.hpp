// Streams: queues of work on one device, run in order.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/device.hpp"
#include "cuda/owned.hpp"

namespace fasttrt::cuda {

class EventRef;

// A stream that somebody else owns. Its members need a current context (ContextGuard), as the
// driver asks for one, and throw CudaError; that may be an error of work queued earlier.
class StreamRef {
 public:
  using Handle = CUstream_st*;
  // A null pointer is the legacy default stream; a literal one is surely a mistake.
  StreamRef(CUstream_st* stream) noexcept : handle_(stream) {}  // NOLINT(*-explicit-*)
  StreamRef(int) = delete;
  StreamRef(std::nullptr_t) = delete;

  // Waits until all queued work is done.
  void synchronize() const;
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] bool is_capturing() const;
  // Work queued from now on waits for the event; the calling thread does not.
  void wait(EventRef event) const;

  [[nodiscard]] CUstream_st* handle() const noexcept { return handle_; }
  friend bool operator==(StreamRef, StreamRef) noexcept = default;

 protected:
  CUstream_st* handle_;
};

// Owns a stream that does not synchronise with the legacy default stream. Use it as a StreamRef.
class Stream : public Owned<StreamRef, &DriverApi::stream_destroy> {
 public:
  explicit Stream(std::shared_ptr<PrimaryContext> context);
};

}  // namespace fasttrt::cuda
