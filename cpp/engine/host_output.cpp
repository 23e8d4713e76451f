#include "engine/host_output.hpp"

#include <algorithm>
#include <string>

#include "common/error.hpp"

namespace fasttrt::engine {

HostBuffer::HostBuffer(std::size_t bytes) {
  constexpr std::size_t alignment = 64;  // a cache line, and the widest vector load
  const auto rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  data_.reset(std::aligned_alloc(alignment, rounded));
  if (data_ == nullptr) {
    throw OutOfMemoryError("no host memory for " + std::to_string(bytes) + " bytes of results");
  }
}

}  // namespace fasttrt::engine
