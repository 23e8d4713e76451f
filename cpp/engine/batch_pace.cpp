#include "engine/batch_pace.hpp"

#include <algorithm>
#include <iterator>

namespace fasttrt::engine {
namespace {

double seconds(BatchPace::Duration time) { return std::chrono::duration<double>(time).count(); }

// A mean of late. What takes much longer, as the first run of its kind, counts as twice that.
void follow(double& mean, double value, double weight) {
  mean = mean == 0 ? value : mean + weight * (std::min(value, 2 * mean) - mean);
}

}  // namespace

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): those that came, and all
void BatchPace::came(std::int64_t rows, std::int64_t in_flight, Clock::time_point now) noexcept {
  clients_ = std::max(clients_, static_cast<double>(in_flight));
  if (awaited_ == 0) return;
  awaited_ -= std::min(awaited_, rows);
  if (awaited_ > 0) return;
  const auto left = static_cast<double>(left_);
  follow(return_time_, seconds(now - since_) / left, left / (left + 64));
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): without and with padding
void BatchPace::ended(std::int64_t rows, std::int64_t size, Duration time, Clock::time_point now) {
  clients_ -= clients_ / 64;
  if (time > Duration::zero() && !tried_.insert(size).second) {
    // A size that was not run for long is tried again: it may have been slow for a reason.
    for (auto& [other, mean] : run_times_) mean -= other == size ? 0 : mean / 8192;
    follow(run_times_[size], seconds(time), 1.0 / 8);
  }
  if (awaited_ > 0) return;
  awaited_ = left_ = rows;
  since_ = now;
}

// What is not known is at best what the next smaller size takes, so that it will be tried.
double BatchPace::run_time(std::int64_t size) const noexcept {
  const auto larger = run_times_.upper_bound(size);
  return larger == run_times_.begin() ? larger->second : std::prev(larger)->second;
}

std::int64_t BatchPace::best(std::span<const std::int64_t> sizes) const noexcept {
  auto best = sizes.back();
  if (run_times_.empty() || return_time_ == 0) return best;
  const auto clients = clients_ / static_cast<double>(devices_);
  double most = 0;
  for (const auto size : sizes) {
    const auto rows = std::min(static_cast<double>(size), clients);
    const auto time = run_time(size) + return_time_ * std::max(0.0, 2 * rows - clients);
    const auto rate = std::min(rows / time, 1 / return_time_);
    if (rate >= most) {
      most = rate;
      best = size;
    }
    if (static_cast<double>(size) >= clients) break;
  }
  return best;
}

}  // namespace fasttrt::engine
