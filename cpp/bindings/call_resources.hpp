// What an engine keeps for its calls that use the GPU's streams. Any thread with the GIL may use
// it, and with a free-threaded Python, several at once.
#pragma once

#include <pybind11/pybind11.h>

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cuda/event.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::bindings {

class CallResources {
 public:
  explicit CallResources(int device) noexcept : device_(device) {}

  // A stream that an earlier call gave back, or a new one. Throws CudaError or OutOfMemoryError.
  [[nodiscard]] cuda::Stream take_stream();
  void give_back(cuda::Stream stream) noexcept;

  // Makes work that is queued in `later` from now on wait for what is queued in `earlier`.
  void order(cuda::StreamRef earlier, cuda::StreamRef later);

  // Keeps arrays of a run that nobody waits for until the GPU is done with them, and lets go of
  // those of earlier runs.
  void hold(cuda::Event done, std::vector<pybind11::object> arrays);

  // Lets go of everything, and from now on of what is given back.
  void close() noexcept;

 private:
  struct Held {
    cuda::Event done;
    std::vector<pybind11::object> arrays;
  };

  int device_;
  // For what follows; no Python runs, and nothing is let go of, while it is held.
  std::mutex mutex_;
  bool is_closed_ = false;
  std::vector<cuda::Stream> spare_;
  std::optional<cuda::Event> event_;
  std::vector<Held> held_;
};

// A stream for the time of a call, taken when it is first wanted.
class SpareStream {
 public:
  explicit SpareStream(CallResources& resources) noexcept : resources_(resources) {}
  ~SpareStream() {
    if (stream_) resources_.give_back(std::move(*stream_));
  }
  SpareStream(const SpareStream&) = delete;
  SpareStream& operator=(const SpareStream&) = delete;

  [[nodiscard]] cuda::StreamRef get() {
    if (!stream_) stream_.emplace(resources_.take_stream());
    return *stream_;
  }
  [[nodiscard]] CallResources& resources() const noexcept { return resources_; }

 private:
  CallResources& resources_;
  std::optional<cuda::Stream> stream_;
};

}  // namespace fasttrt::bindings
