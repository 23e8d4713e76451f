#include "engine/completion_channel.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <tuple>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::engine {

CompletionChannel::CompletionChannel() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (descriptor_ < 0) throw Error("no event descriptor: the process has too many files open");
}

CompletionChannel::~CompletionChannel() { ::close(descriptor_); }

void CompletionChannel::push(std::span<RequestRef> requests) noexcept {
  if (requests.empty()) return;
  const std::lock_guard lock(mutex_);
  if (is_closed_) {
    for (auto& request : requests) request.reset();
    return;
  }
  if (done_.empty()) signal();
  done_.insert(done_.end(), std::move_iterator(requests.begin()),
               std::move_iterator(requests.end()));
}

std::vector<RequestRef> CompletionChannel::take() noexcept {
  const std::lock_guard lock(mutex_);
  if (!done_.empty() && !is_closed_) clear_signal();
  return std::exchange(done_, {});
}

bool CompletionChannel::wait_until(Clock::time_point time) const noexcept {
  using std::chrono::milliseconds;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (is_closed_ || !done_.empty()) return !is_closed_;
    }
    const auto left = std::chrono::ceil<milliseconds>(time - Clock::now());
    if (left.count() <= 0) return false;
    pollfd waited{descriptor_, POLLIN, 0};
    const auto longest = milliseconds(std::chrono::hours(1));
    ::poll(&waited, 1, static_cast<int>(std::min(left, longest).count()));
  }
}

void CompletionChannel::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (!is_closed_ && done_.empty()) signal();
  is_closed_ = true;
}

bool CompletionChannel::is_closed() const noexcept {
  const std::lock_guard lock(mutex_);
  return is_closed_;
}

void CompletionChannel::signal() const noexcept { std::ignore = eventfd_write(descriptor_, 1); }

void CompletionChannel::clear_signal() const noexcept {
  eventfd_t count = 0;
  std::ignore = eventfd_read(descriptor_, &count);
}

}  // namespace fasttrt::engine
