// Sleeping until a word in memory changes: a lock-free condition variable for any number of
// threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace fasttrt {

// Sleeps until woken, while the word holds `expected`, for `time` at most. May return early.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::nanoseconds time) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

// Tells threads that something they check has changed. Ringing costs a system call only where
// somebody sleeps, and one for all of them.
class Bell {
 public:
  // After the change.
  void ring() noexcept {
    ++rings_;
    if (sleeping_ > 0) futex_wake_all(rings_);
  }

  // Sleeps until is_over() is true, or the time has come; returns is_over().
  template <class Condition>
  bool wait_until(std::chrono::steady_clock::time_point time, const Condition& is_over) noexcept {
    ++sleeping_;
    bool over = false;
    for (;;) {
      const auto seen = rings_.load();
      over = is_over();
      const auto left = time - std::chrono::steady_clock::now();
      if (over || left <= std::chrono::steady_clock::duration::zero()) break;
      futex_wait(rings_, seen, left);
    }
    --sleeping_;
    return over;
  }

 private:
  std::atomic<std::uint32_t> rings_ = 0;
  std::atomic<std::uint32_t> sleeping_ = 0;
};

// Lets the other thread of the core work while this one spins.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace fasttrt
