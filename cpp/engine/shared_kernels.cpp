#include "engine/shared_kernels.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>

namespace fasttrt::engine {

std::shared_ptr<SharedKernels> SharedKernels::get(const std::string& key) {
  using Entry = std::pair<std::string, std::shared_ptr<SharedKernels>>;
  constexpr std::size_t most_unused = 1024;
  static std::mutex mutex;
  static auto& entries = *new std::deque<Entry>;  // the oldest first; not freed at exit, see Logger
  if (key.empty()) return std::make_shared<SharedKernels>();
  const std::lock_guard lock(mutex);
  const auto found = std::ranges::find(entries, key, &Entry::first);
  auto kernels = found != entries.end() ? found->second : std::make_shared<SharedKernels>();
  if (found != entries.end()) entries.erase(found);
  const auto is_unused = [](const Entry& entry) { return entry.second.use_count() == 1; };
  if (std::ranges::count_if(entries, is_unused) >= static_cast<std::ptrdiff_t>(most_unused)) {
    entries.erase(std::ranges::find_if(entries, is_unused));
  }
  entries.emplace_back(key, kernels);
  return kernels;
}

}  // namespace fasttrt::engine
