// Streams: queues of work on one device, run in order.
#pragma once

#include <cstddef>
#include <memory>

#include "cuda/device.hpp"

namespace fasttrt::cuda {

class EventRef;

// A stream that somebody else owns. Its members need a current context (ContextGuard), as the
// driver asks for one, and throw CudaError; that may be an error of work queued earlier.
class StreamRef {
 public:
  // A null pointer is the legacy default stream; a literal one is surely a mistake.
  StreamRef(CUstream_st* stream) noexcept : stream_(stream) {}  // NOLINT(*-explicit-*)
  StreamRef(int) = delete;
  StreamRef(std::nullptr_t) = delete;

  // Waits until all queued work is done.
  void synchronize() const;
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] bool is_capturing() const;
  // Work queued from now on waits for the event; the calling thread does not.
  void wait(EventRef event) const;

  [[nodiscard]] CUstream_st* handle() const noexcept { return stream_; }
  friend bool operator==(StreamRef, StreamRef) noexcept = default;

 protected:
  CUstream_st* stream_;
};

// Owns a stream that does not synchronise with the legacy default stream. Use it as a StreamRef.
class Stream : public StreamRef {
 public:
  explicit Stream(std::shared_ptr<PrimaryContext> context);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;

  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept { return context_; }
  // The caller now destroys the stream, and keeps its context alive until then.
  [[nodiscard]] CUstream_st* release() noexcept;

 private:
  void reset() noexcept;

  std::shared_ptr<PrimaryContext> context_;
};

}  // namespace fasttrt::cuda
