#include "engine/recordings.hpp"

#include <algorithm>
#include <utility>

namespace fasttrt::engine {
namespace {

// Enough for the batch sizes of a server; each graph takes up to some hundred KiB.
constexpr std::size_t most = 64;

}  // namespace

Recording* Recordings::find(std::span<const std::int64_t> key) noexcept {
  const auto found = std::ranges::find_if(
      list_, [&](const auto& recording) { return std::ranges::equal(recording->key, key); });
  if (found == list_.end()) return nullptr;
  std::rotate(list_.begin(), found, std::next(found));
  return list_.front().get();
}

Recording& Recordings::add(std::span<const std::int64_t> key,
                           std::vector<nvinfer::Dims> output_shapes) {
  auto recording = std::make_unique<Recording>();
  recording->key.assign(key.begin(), key.end());
  recording->output_shapes = std::move(output_shapes);
  if (list_.size() == most) list_.pop_back();
  list_.insert(list_.begin(), std::move(recording));
  return *list_.front();
}

}  // namespace fasttrt::engine
