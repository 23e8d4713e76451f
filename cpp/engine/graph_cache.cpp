#include "engine/graph_cache.hpp"

#include <algorithm>
#include <utility>

namespace fasttrt::engine {
namespace {

// Enough for the batch sizes of a server; each graph takes up to some hundred KiB.
constexpr std::size_t max_runs = 64;

}  // namespace

CapturedRun* GraphCache::find(std::span<const std::int64_t> key) noexcept {
  const auto found = std::ranges::find_if(
      list_, [&](const auto& run) { return std::ranges::equal(run->key, key); });
  if (found == list_.end()) return nullptr;
  std::rotate(list_.begin(), found, std::next(found));
  return list_.front().get();
}

CapturedRun& GraphCache::add(std::span<const std::int64_t> key,
                             std::vector<nvinfer::Dims> output_shapes) {
  auto run = std::make_unique<CapturedRun>();
  run->key.assign(key.begin(), key.end());
  run->output_shapes = std::move(output_shapes);
  if (list_.size() == max_runs) list_.pop_back();
  list_.insert(list_.begin(), std::move(run));
  return *list_.front();
}

void GraphCache::forget(std::int64_t first) noexcept {
  std::erase_if(list_, [&](const auto& run) { return run->key.front() == first; });
}

}  // namespace fasttrt::engine
