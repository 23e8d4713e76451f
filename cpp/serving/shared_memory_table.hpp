// The shared memory that clients have registered, by name.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/host_buffer.hpp"
#include "serving/request_body.hpp"
#include "serving/shared_memory_region.hpp"

namespace fasttrt::serving {

using SharedMemoryRegionPtr = std::shared_ptr<SharedMemoryRegion>;

// What a tensor was when it was read: its client may change the region at any time, so that what
// is checked must not lie there.
class RegionCopy {
 public:
  [[nodiscard]] const char* data() const noexcept {
    return static_cast<const char*>(memory_.data());
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::string_view bytes() const noexcept { return {data(), size_}; }

 private:
  friend class SharedMemoryTable;

  Reservation reservation_;
  engine::HostBuffer memory_;  // given back before what it was reserved of
  std::size_t size_ = 0;
};

// One name space for all kinds of memory. All functions may be called from any thread.
class SharedMemoryTable {
 public:
  // max_copied_bytes: of all copies that exist at a time.
  explicit SharedMemoryTable(std::size_t max_copied_bytes)
      : budget_(std::make_shared<MemoryBudget>(max_copied_bytes)) {}

  // Returns false where the name is taken.
  [[nodiscard]] bool add(std::string name, SharedMemoryRegionPtr region);
  // A region in use is let go of when the requests that use it are over.
  void remove(std::string_view name) noexcept;
  // Null where there is none of this name.
  [[nodiscard]] SharedMemoryRegionPtr find(std::string_view name) const;
  // All of them, by name.
  [[nodiscard]] std::vector<std::pair<std::string, SharedMemoryRegionPtr>> regions() const;

  // A copy of bytes that the region has(), in page-locked memory where there is a pool; none where
  // that would be too many at a time. Throws InputError where the memory is not there any more, and
  // OutOfMemoryError.
  [[nodiscard]] std::optional<RegionCopy> copy(const SharedMemoryRegion& region, std::size_t offset,
                                               std::size_t bytes,
                                               std::shared_ptr<engine::PinnedPool> pool) const;

 private:
  const std::shared_ptr<MemoryBudget> budget_;
  mutable std::mutex mutex_;
  std::map<std::string, SharedMemoryRegionPtr, std::less<>> regions_;
};

}  // namespace fasttrt::serving
