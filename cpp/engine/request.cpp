#include "engine/request.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <thread>
#include <utility>

#include "common/futex.hpp"
#include "engine/completion_channel.hpp"

namespace fasttrt::engine {
namespace {

using Clock = Request::Clock;

// Outside the requests, which may be gone when those that waited for them are woken. Those of a
// batch share one.
// NOLINTNEXTLINE(*-non-const-global-variables)
std::array<Bell, 64> all_bells;

// A short run is over before a sleeping thread would have been woken. Of many that wait, few may
// spin: the others' cores are wanted for the work.
constexpr auto max_request_spin = std::chrono::microseconds(50);
constexpr int max_spinning = 2;
std::atomic<int> spinning = 0;  // NOLINT(*-non-const-global-variables)

bool spin_until(Clock::time_point time, const auto& is_over) noexcept {
  bool over = false;
  if (++spinning <= max_spinning) {
    const auto end = std::min(time, Clock::now() + max_request_spin);
    while (!(over = is_over()) && Clock::now() < end) relax();
  }
  --spinning;
  return over;
}

}  // namespace

Request::~Request() = default;

bool Request::wait_until(Clock::time_point time) const noexcept {
  const auto is_over = [this] { return is_done(); };
  if (is_over() || (spins_ && spin_until(time, is_over))) return true;
  return all_bells.at(bell_).wait_until(time, is_over);
}

void Request::finish(std::span<RequestRef> requests) noexcept {
  std::uint64_t rung = 0;
  static_assert(all_bells.size() == bells && bells == 64);
  for (auto first = requests.begin(); first != requests.end();) {
    const auto channel = (*first)->channel;
    auto last = first;
    for (; last != requests.end() && (*last)->channel == channel; ++last) {
      rung |= std::uint64_t{1} << (*last)->bell_;
      if (channel != nullptr) {
        (*last)->word_ |= done_bit;
      } else {
        last->take()->drop(one_reference - done_bit);
      }
    }
    if (channel != nullptr) channel->push({first, last});
    first = last;
  }
  for (; rung != 0; rung &= rung - 1) {
    all_bells.at(static_cast<std::size_t>(std::countr_zero(rung))).ring();
  }
}

}  // namespace fasttrt::engine
