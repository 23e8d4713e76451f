// Memory for outputs whose size only the run itself can tell.
#pragma once

#include <exception>
#include <memory>

#include "cuda/memory.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

// One output's memory: grows when TensorRT asks, keeps the shape that TensorRT reports. Used by
// one execution context at a time.
class OutputAllocator {
 public:
  explicit OutputAllocator(std::shared_ptr<cuda::PrimaryContext> device);
  ~OutputAllocator();
  OutputAllocator(const OutputAllocator&) = delete;
  OutputAllocator& operator=(const OutputAllocator&) = delete;

  [[nodiscard]] void* vendor_interface(Generation generation) noexcept;

  // Forgets the last run's shape and makes room for at least so many bytes.
  void reset(std::size_t bytes) {
    dims_ = Dims(Dims::unknown_rank);
    failure_ = nullptr;
    buffer_.grow(bytes);
  }
  // What TensorRT has been refused memory for since: an OutOfMemoryError or CudaError, if any.
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }
  [[nodiscard]] const Dims& dims() const noexcept { return dims_; }
  [[nodiscard]] void* data() const noexcept { return buffer_.data(); }

 private:
  struct Interfaces;
  void* reallocate(std::size_t bytes) noexcept;

  cuda::DeviceBuffer buffer_;
  std::exception_ptr failure_;
  Dims dims_{Dims::unknown_rank};
  std::unique_ptr<Interfaces> interfaces_;
};

}  // namespace fasttrt::nvinfer
