// One input of a session: how its arrays get to where the engine reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/copy_pool.hpp"
#include "cuda/memory.hpp"
#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/io_tensor.hpp"
#include "engine/run_counts.hpp"

namespace fasttrt::engine {

class InputSlot {
 public:
  // Host arrays of up to mapped_limit bytes are read by the GPU from page-locked memory.
  // Larger ones are copied through `copies`, which outlives the slot.
  InputSlot(std::shared_ptr<cuda::PrimaryContext> device, CopyPool& copies, const IoTensor& tensor,
            std::size_t mapped_limit);

  // The address at which the engine finds the array once what this queues in the stream is done.
  // An array of page-locked or device memory may be in use until then; any other was copied. Work
  // that used the slot before must be done, or come first in the stream if the array is on the
  // device. Where it throws, its own memory may have been replaced, too.
  [[nodiscard]] Placement stage(const InputArray& array, cuda::StreamRef stream);

  // Queues the copy of bytes `begin` to `end` of an array of up to `capacity` bytes that will be
  // staged next, from the same address: stage() copies what follows. Returns whether memory that
  // captured work may use was replaced. Until stage() or forget_ahead() the bytes must stay.
  [[nodiscard]] bool copy_ahead(const std::byte* data, std::size_t begin, std::size_t end,
                                std::size_t capacity, cuda::StreamRef stream);
  // The same for what precedes `end` and was not copied yet; then what the array begins with fills
  // the rest up to `capacity`.
  [[nodiscard]] bool pad_ahead(const std::byte* data, std::size_t end, std::size_t capacity,
                               cuda::StreamRef stream);
  void forget_ahead() noexcept { ahead_of_ = nullptr; }
  // Whether an array of so many bytes in host memory is copied to the device.
  [[nodiscard]] bool is_copied(std::size_t bytes) const noexcept {
    return !tensor_.on_host && bytes > mapped_limit_;
  }

  // For an array that the GPU reads from page-locked memory: the place of a copy in its own, and
  // what makes it. Kernels that read their input many times want it there.
  [[nodiscard]] bool is_mapped() const noexcept { return mapped_bytes_ > 0; }
  [[nodiscard]] void* copy() const noexcept { return buffer_.data(); }
  void queue_copy(cuda::StreamRef stream) const;

  // Whether the host memory of the array staged last is read by the queued work itself.
  [[nodiscard]] bool is_lent() const noexcept { return lent_; }

  // Its own.
  [[nodiscard]] MemoryHeld memory() const noexcept { return {buffer_.size(), staging_.size()}; }

  // A shape tensor's values, as staged last.
  [[nodiscard]] const std::vector<std::byte>& values() const noexcept { return values_; }

 private:
  [[nodiscard]] bool upload(const std::byte* data, std::size_t begin, std::size_t end,
                            cuda::StreamRef stream);
  [[nodiscard]] bool grow_buffer(std::size_t bytes);
  [[nodiscard]] bool grow_staging(std::size_t bytes);

  std::shared_ptr<cuda::PrimaryContext> device_;
  CopyPool& copies_;
  const IoTensor& tensor_;
  std::size_t mapped_limit_;
  cuda::PinnedBuffer staging_;
  cuda::DeviceBuffer buffer_;
  std::vector<std::byte> values_;
  std::size_t mapped_bytes_ = 0;  // of the array staged last, if it was mapped
  bool lent_ = false;
  const std::byte* ahead_of_ = nullptr;  // the array of which the first bytes were copied ahead
  std::size_t ahead_ = 0;
};

}  // namespace fasttrt::engine
