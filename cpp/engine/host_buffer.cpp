#include "engine/host_buffer.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

constexpr std::size_t alignment = 64;  // a cache line, and the widest vector load
constexpr std::size_t min_block_bytes = std::size_t{64} << 10;
// What a pool keeps for later runs; more is freed.
constexpr std::size_t max_idle_bytes = std::size_t{512} << 20;

}  // namespace

PinnedPool::PinnedPool(std::shared_ptr<cuda::PrimaryContext> device) noexcept
    : device_(std::move(device)) {}

cuda::PinnedBuffer PinnedPool::take(std::size_t bytes) {
  const auto size = std::bit_ceil(std::max(bytes, min_block_bytes));
  {
    const std::lock_guard lock(mutex_);
    const auto fits = std::ranges::find(idle_, size, &cuda::PinnedBuffer::size);
    if (fits != idle_.end()) {
      cuda::PinnedBuffer buffer = std::move(*fits);
      idle_.erase(fits);
      idle_bytes_ -= size;
      return buffer;
    }
  }
  return {device_, size};
}

std::size_t PinnedPool::idle_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return idle_bytes_;
}

void PinnedPool::close() noexcept {
  std::vector<cuda::PinnedBuffer> idle;  // freed after the lock
  const std::lock_guard lock(mutex_);
  closed_ = true;
  idle.swap(idle_);
  idle_bytes_ = 0;
}

void PinnedPool::give_back(cuda::PinnedBuffer buffer) noexcept {
  const std::lock_guard lock(mutex_);
  if (closed_ || idle_bytes_ + buffer.size() > max_idle_bytes) return;
  try {
    idle_.push_back(std::move(buffer));
    idle_bytes_ += idle_.back().size();
  } catch (const std::bad_alloc&) {
    return;  // freed instead
  }
}

HostBuffer::HostBuffer(std::size_t bytes) { allocate(bytes); }

HostBuffer::HostBuffer(std::shared_ptr<PinnedPool> pool, std::size_t bytes) {
  try {
    block_ = pool->take(bytes);
    data_ = block_.data();
    pool_ = std::move(pool);
  } catch (const OutOfMemoryError& error) {
    nvinfer::Logger::instance().log(nvinfer::Severity::verbose, error.what());
    allocate(bytes);
  }
}

HostBuffer::~HostBuffer() { reset(); }

HostBuffer::HostBuffer(HostBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      block_(std::move(other.block_)),
      pool_(std::move(other.pool_)) {}

HostBuffer& HostBuffer::operator=(HostBuffer&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    block_ = std::move(other.block_);
    pool_ = std::move(other.pool_);
  }
  return *this;
}

void HostBuffer::allocate(std::size_t bytes) {
  const auto rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  data_ = std::aligned_alloc(alignment, rounded);
  if (data_ == nullptr) {
    throw OutOfMemoryError("no host memory for " + std::to_string(bytes) + " bytes of results");
  }
}

void HostBuffer::reset() noexcept {
  if (data_ == nullptr) return;
  if (pool_ == nullptr) {
    std::free(data_);
  } else {
    pool_->give_back(std::move(block_));
    pool_.reset();
  }
  data_ = nullptr;
}

}  // namespace fasttrt::engine
