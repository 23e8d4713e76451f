// One output of a session: where the engine writes it, and how it gets to the caller.
#pragma once

#include <cstddef>
#include <memory>

#include "common/copy_pool.hpp"
#include "cuda/memory.hpp"
#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/io_tensor.hpp"
#include "engine/run_counts.hpp"
#include "nvinfer/output_allocator.hpp"

namespace fasttrt::engine {

class OutputSlot {
 public:
  // Results in host memory of up to mapped_limit bytes are written by the GPU to page-locked
  // memory. Copies in host memory are made by `copies`, which outlives the slot.
  OutputSlot(std::shared_ptr<cuda::PrimaryContext> device, std::shared_ptr<PinnedPool> pool,
             CopyPool& copies, const IoTensor& tensor, std::size_t mapped_limit);

  // Where the engine shall write a result of this shape. Throws OutOfMemoryError; memory of the
  // slot's own may have been replaced then, too.
  [[nodiscard]] Placement place(const OutputArray& result, const Dims& shape);

  // For a result whose shape only the run can tell; null before the first such run.
  [[nodiscard]] nvinfer::OutputAllocator* allocator() const noexcept { return allocator_.get(); }
  nvinfer::OutputAllocator& use_allocator();

  // Gives the result its shape and, where the caller gave none, memory. Throws InputError if the
  // caller's memory has another shape, OutOfMemoryError.
  void prepare(OutputArray& result, const Dims& shape) const;

  // Its own.
  [[nodiscard]] MemoryHeld memory() const noexcept { return {buffer_.size(), mapped_.size()}; }

  // Queues what brings the result to the caller, then, when that is done, completes it.
  void fetch(OutputArray& result, cuda::StreamRef stream);
  void complete(OutputArray& result);

 private:
  [[nodiscard]] std::size_t bytes(const Dims& shape) const noexcept;
  [[nodiscard]] std::size_t mapped_size(std::size_t bytes) const noexcept;
  [[nodiscard]] bool is_direct(const OutputArray& result) const noexcept;
  [[nodiscard]] bool is_mapped(const OutputArray& result) const noexcept;

  std::shared_ptr<cuda::PrimaryContext> device_;
  std::shared_ptr<PinnedPool> pool_;
  CopyPool& copies_;
  const IoTensor& tensor_;
  std::size_t mapped_limit_;
  cuda::PinnedBuffer mapped_;
  cuda::DeviceBuffer buffer_;
  HostBuffer values_;   // a shape tensor's
  HostBuffer landing_;  // for results that go to memory which is not page-locked
  std::unique_ptr<nvinfer::OutputAllocator> allocator_;
};

}  // namespace fasttrt::engine
