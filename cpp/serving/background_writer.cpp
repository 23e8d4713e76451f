#include "serving/background_writer.hpp"

#include <chrono>
#include <new>
#include <utility>

namespace fasttrt::serving {
namespace {

constexpr std::size_t max_waiting = std::size_t{16} << 20;
// How long the first piece waits for others, so that many are written at once.
constexpr auto gathering_time = std::chrono::milliseconds(50);

}  // namespace

BackgroundWriter::BackgroundWriter(Sink sink)
    : sink_(std::move(sink)), thread_([this] { run(); }) {}

void BackgroundWriter::write(std::string_view text) noexcept {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return;
    is_first = waiting_.empty();
    try {
      if (waiting_.size() + text.size() > max_waiting) throw std::bad_alloc();
      waiting_.append(text);
    } catch (const std::bad_alloc&) {
      ++dropped_;
      return;
    }
  }
  if (is_first) changed_.notify_one();
}

void BackgroundWriter::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_one();
  }
  const std::lock_guard closing(closing_);
  if (thread_.joinable()) thread_.join();
}

void BackgroundWriter::run() {
  std::string text;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    changed_.wait_for(lock, gathering_time, [&] { return is_closed_; });
    text.clear();
    text.swap(waiting_);
    const auto dropped = std::exchange(dropped_, 0);
    lock.unlock();
    try {
      sink_(text, dropped);
      lock.lock();
    } catch (const std::bad_alloc&) {
      lock.lock();
      ++dropped_;
    }
  }
}

}  // namespace fasttrt::serving
