// Host memory for a run's results.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "nvinfer/dims.hpp"

namespace fasttrt::engine {

// Owns host memory aligned for vector loads. At least one byte, so data() is never null.
class HostBuffer {
 public:
  HostBuffer() noexcept = default;
  explicit HostBuffer(std::size_t bytes);  // throws OutOfMemoryError

  [[nodiscard]] void* data() const noexcept { return data_.get(); }
  // The caller now frees it, with std::free.
  [[nodiscard]] void* release() noexcept { return data_.release(); }

 private:
  struct Free {
    void operator()(void* data) const noexcept { std::free(data); }
  };
  std::unique_ptr<void, Free> data_;
};

// One result: in memory of the caller's, or, where the caller gave none, in a buffer of its own.
struct HostOutput {
  nvinfer::Dims shape;     // of the caller's memory on the way in, of the result on the way out
  void* target = nullptr;  // the caller's memory, C-contiguous, of the tensor's dtype
  HostBuffer buffer;

  [[nodiscard]] void* data() const noexcept { return target != nullptr ? target : buffer.data(); }
};

}  // namespace fasttrt::engine
