// Host memory for a run's results: ordinary for small ones, page-locked from a pool for large ones.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/memory.hpp"

namespace fasttrt::engine {

// Smaller arrays are not worth a block of page-locked memory.
inline constexpr std::size_t min_pinned_bytes = std::size_t{64} << 10;

// Page-locked blocks of an engine, used again: locking pages takes longer than most runs. Blocks
// may outlive the engine; they hold the pool.
class PinnedPool {
 public:
  explicit PinnedPool(std::shared_ptr<cuda::PrimaryContext> device) noexcept;

  // At least so many bytes. Throws OutOfMemoryError.
  [[nodiscard]] cuda::PinnedBuffer take(std::size_t bytes);
  void give_back(cuda::PinnedBuffer buffer) noexcept;
  // Of blocks that are in nobody's use.
  [[nodiscard]] std::size_t idle_bytes() const noexcept;
  // Frees what is idle, and from now on what is given back.
  void close() noexcept;

 private:
  std::shared_ptr<cuda::PrimaryContext> device_;
  mutable std::mutex mutex_;
  std::vector<cuda::PinnedBuffer> idle_;
  std::size_t idle_bytes_ = 0;
  bool closed_ = false;
};

// Owns host memory aligned for vector loads. At least one byte, so data() is never null.
class HostBuffer {
 public:
  HostBuffer() noexcept = default;
  // Ordinary memory. Throws OutOfMemoryError.
  explicit HostBuffer(std::size_t bytes);
  // From the pool; ordinary memory where the system locks no more pages.
  HostBuffer(std::shared_ptr<PinnedPool> pool, std::size_t bytes);
  ~HostBuffer();
  HostBuffer(HostBuffer&& other) noexcept;
  HostBuffer& operator=(HostBuffer&& other) noexcept;

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] bool is_pinned() const noexcept { return pool_ != nullptr; }

 private:
  void allocate(std::size_t bytes);
  void reset() noexcept;

  void* data_ = nullptr;
  cuda::PinnedBuffer block_;
  std::shared_ptr<PinnedPool> pool_;  // null for ordinary memory
};

}  // namespace fasttrt::engine
