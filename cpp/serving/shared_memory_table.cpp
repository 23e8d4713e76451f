#include "serving/shared_memory_table.hpp"

#include <bit>

namespace fasttrt::serving {
bool SharedMemoryTable::add(std::string name, SharedMemoryRegionPtr region) {
  const std::lock_guard lock(mutex_);
  return regions_.emplace(std::move(name), std::move(region)).second;
}

void SharedMemoryTable::remove(std::string_view name) noexcept {
  SharedMemoryRegionPtr removed;  // after the lock
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(name);
  if (found == regions_.end()) return;
  removed = std::move(found->second);
  regions_.erase(found);
}

SharedMemoryRegionPtr SharedMemoryTable::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(name);
  return found == regions_.end() ? nullptr : found->second;
}

std::vector<std::pair<std::string, SharedMemoryRegionPtr>> SharedMemoryTable::regions() const {
  const std::lock_guard lock(mutex_);
  return {regions_.begin(), regions_.end()};
}

std::optional<RegionCopy> SharedMemoryTable::copy(const SharedMemoryRegion& region,
                                                  std::size_t offset, std::size_t bytes,
                                                  std::shared_ptr<engine::PinnedPool> pool) const {
  const bool is_pinned = pool != nullptr && bytes >= engine::min_pinned_bytes;
  const auto taken = is_pinned ? std::bit_ceil(bytes) : bytes;  // as the pool does
  RegionCopy copy;
  if (!copy.reservation_.take(budget_, taken)) return std::nullopt;
  copy.memory_ = is_pinned ? engine::HostBuffer(std::move(pool), bytes) : engine::HostBuffer(bytes);
  copy.size_ = bytes;
  region.read(offset, {static_cast<char*>(copy.memory_.data()), bytes});
  return copy;
}

}  // namespace fasttrt::serving
