#include "bindings/call_resources.hpp"

#include <algorithm>
#include <iterator>
#include <new>

namespace fasttrt::bindings {

cuda::Stream CallResources::take_stream() {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      auto stream = std::move(spare_.back());
      spare_.pop_back();
      return stream;
    }
  }
  return cuda::Stream(cuda::PrimaryContext::retain(device_));
}

void CallResources::give_back(cuda::Stream stream) noexcept {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  try {
    spare_.push_back(std::move(stream));
  } catch (const std::bad_alloc&) {
    return;  // the next call makes one of its own
  }
}

// One event will do: a stream that waits for it waits for what it marked at that time.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): in their order
void CallResources::order(cuda::StreamRef earlier, cuda::StreamRef later) {
  const std::lock_guard lock(mutex_);
  if (!event_) event_.emplace(cuda::PrimaryContext::retain(device_));
  const cuda::ContextGuard guard(*event_->context());
  event_->record(earlier);
  later.wait(*event_);
  if (is_closed_) event_.reset();
}

void CallResources::hold(cuda::Event done, std::vector<pybind11::object> arrays) {
  // Dies last, without the lock: letting go of an array may run Python.
  std::vector<Held> over;
  const auto context = done.context();
  const cuda::ContextGuard guard(*context);
  const std::lock_guard lock(mutex_);
  held_.push_back({std::move(done), std::move(arrays)});
  const auto rest =
      std::ranges::partition(held_, [](const Held& run) { return !run.done.is_done(); });
  over.assign(std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
  held_.erase(rest.begin(), rest.end());
}

void CallResources::close() noexcept {
  // Destroyed without the lock: see hold().
  std::vector<Held> held;
  std::vector<cuda::Stream> spare;
  std::optional<cuda::Event> event;
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  held.swap(held_);
  spare.swap(spare_);
  event.swap(event_);
}

}  // namespace fasttrt::bindings
