#include "common/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

namespace fasttrt {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::nanoseconds time) noexcept {
  constexpr std::chrono::nanoseconds longest = std::chrono::hours(1);
  time = std::min(time, longest);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  const timespec relative{seconds.count(), (time - seconds).count()};
  // NOLINTNEXTLINE(*-vararg)
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &relative, nullptr, 0);
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  // NOLINTNEXTLINE(*-vararg)
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace fasttrt
