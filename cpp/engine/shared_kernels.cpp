#include "engine/shared_kernels.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>

namespace fasttrt::engine {

std::shared_ptr<SharedKernels> SharedKernels::get(const std::string& key) {
  using Entry = std::pair<std::string, std::shared_ptr<SharedKernels>>;
  constexpr std::size_t most_unused = 1024;
  constexpr std::size_t most_kept = 4;
  static std::mutex mutex;
  static auto& entries = *new std::deque<Entry>;  // the oldest first; not freed at exit, see Logger
  if (key.empty()) return std::make_shared<SharedKernels>();
  std::vector<std::shared_ptr<nvinfer::RuntimeCache>> dropped;  // after the lock
  const std::lock_guard lock(mutex);
  const auto found = std::ranges::find(entries, key, &Entry::first);
  auto kernels = found != entries.end() ? found->second : std::make_shared<SharedKernels>();
  if (found != entries.end()) entries.erase(found);
  const auto is_unused = [](const Entry& entry) { return entry.second.use_count() == 1; };
  if (std::ranges::count_if(entries, is_unused) >= static_cast<std::ptrdiff_t>(most_unused)) {
    entries.erase(std::ranges::find_if(entries, is_unused));
  }
  entries.emplace_back(key, kernels);
  for (std::size_t i = 0; i + most_kept < entries.size(); ++i) {
    auto& old = *entries[i].second;
    const std::unique_lock is_idle(old.compiling, std::try_to_lock);
    if (is_idle && old.kept != nullptr) dropped.push_back(std::exchange(old.kept, nullptr));
  }
  return kernels;
}

}  // namespace fasttrt::engine
