#include "common/copy_pool.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <system_error>

#include "common/futex.hpp"

namespace fasttrt {
namespace {

constexpr std::size_t chunk = std::size_t{16} << 10;
// Each copy to the GPU costs 2 us to queue and some 8 us more than its bytes take, so few are made:
// on an H100's host an array of 300 KiB was quicker in one piece than in three.
constexpr std::size_t least_piece = std::size_t{512} << 10;
// Below this sharing costs more than it saves.
constexpr std::size_t least_shared = std::size_t{64} << 10;
// From here on sleeping helpers are woken: the copy takes longer than waking up.
constexpr std::size_t least_to_wake = std::size_t{1} << 20;
// How long helpers spin for the next copy. Where runs take longer, the copy is a small part of it.
constexpr std::int64_t longest_spin = 1'000'000;  // ns

std::int64_t now() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

constexpr std::uint32_t no_chunk = 0xffffffff;  // beyond the last of any job

std::uint64_t ticket(std::uint32_t generation, std::uint32_t next) noexcept {
  return std::uint64_t{generation} << 32 | next;
}

// Cores that this process may run on, which in a container are fewer than there are.
unsigned usable_cores() noexcept {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace

CopyPool& CopyPool::instance() {
  static auto* const pool = new CopyPool(std::min(usable_cores() / 4, 3U));
  return *pool;
}

CopyPool::~CopyPool() {
  stop_ = true;
  ++generation_;
  generation_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the order of memcpy
void CopyPool::copy(void* dst, const void* src, std::size_t bytes, PieceSink piece_done) {
  auto* const to = static_cast<std::byte*>(dst);
  const auto* const from = static_cast<const std::byte*>(src);
  const auto even = (bytes / max_pieces + chunk) / chunk * chunk;
  const auto piece = std::max(least_piece, even);
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock && is_worth_sharing(bytes)) {
    share(to, from, bytes, piece, piece_done);
  } else {
    for (std::size_t begin = 0; begin < bytes; begin += piece) {
      const auto count = std::min(piece, bytes - begin);
      std::memcpy(to + begin, from + begin, count);
      piece_done(begin, count);
    }
  }
  if (lock && bytes >= least_shared) last_ = now();
}

// Whether helpers are awake, or the copy takes long enough to wake them.
bool CopyPool::is_worth_sharing(std::size_t bytes) const noexcept {
  if (wanted_ == 0 || bytes < least_shared) return false;
  return bytes >= least_to_wake || now() - last_ < longest_spin;
}

void CopyPool::share(std::byte* dst, const std::byte* src, std::size_t bytes, std::size_t piece,
                     PieceSink piece_done) {
  if (!started_) start_helpers();
  // Whatever piece_done throws, nobody may use the caller's arrays any more.
  struct Shared {
    CopyPool& pool;
    std::uint32_t generation;
    std::size_t bytes, piece;
    ~Shared() {
      for (std::size_t begin = 0; begin < bytes; begin += piece) finish(begin);
    }
    [[nodiscard]] std::size_t count(std::size_t begin) const noexcept {
      return std::min(piece, bytes - begin);
    }
    void finish(std::size_t begin) const noexcept {
      const auto chunks = (count(begin) + chunk - 1) / chunk;
      const auto& done = pool.job_.done[begin / piece];
      for (int spins = 0; done.load(std::memory_order_acquire) < chunks;) {
        if (pool.copy_chunk(generation)) continue;
        relax();
        if (++spins % 1024 == 0) std::this_thread::yield();  // a helper may want this very core
      }
    }
  };
  const Shared shared{*this, publish(dst, src, bytes, piece), bytes, piece};
  for (std::size_t begin = 0; begin < bytes; begin += piece) {
    shared.finish(begin);
    piece_done(begin, shared.count(begin));
  }
}

// The job's generation.
std::uint32_t CopyPool::publish(std::byte* dst, const std::byte* src, std::size_t bytes,
                                std::size_t piece) noexcept {
  const auto generation = generation_.load(std::memory_order_relaxed) + 1;
  // First, so that a late helper that sees any of the new values can take no chunk of the old job.
  ticket_.store(ticket(generation, no_chunk), std::memory_order_release);
  job_.dst.store(dst, std::memory_order_release);
  job_.src.store(src, std::memory_order_release);
  job_.bytes.store(bytes, std::memory_order_release);
  job_.piece.store(piece, std::memory_order_release);
  job_.chunks.store(static_cast<std::uint32_t>((bytes + chunk - 1) / chunk),
                    std::memory_order_release);
  for (auto& done : job_.done) done.store(0, std::memory_order_release);
  ticket_.store(ticket(generation, 0), std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();  // costs nothing while none sleeps
  return generation;
}

// Fewer than wanted, or none, where the system gives no more threads.
void CopyPool::start_helpers() noexcept {
  started_ = true;
  try {
    helpers_.reserve(wanted_);
    for (unsigned i = 0; i < wanted_; ++i) {
      helpers_.emplace_back([this, seen = generation_.load()] { help(seen); });
    }
  } catch (const std::system_error&) {
    return;
  } catch (const std::bad_alloc&) {
    return;
  }
}

void CopyPool::help(std::uint32_t generation) noexcept {
  while (true) {
    const auto start = now();
    while (generation_.load(std::memory_order_acquire) == generation) {
      relax();
      if (now() - start < longest_spin) continue;
      generation_.wait(generation, std::memory_order_acquire);
    }
    if (stop_) return;
    generation = generation_.load(std::memory_order_acquire);
    while (copy_chunk(generation)) {
    }
  }
}

// False where no chunk of that job is left.
bool CopyPool::copy_chunk(std::uint32_t generation) noexcept {
  auto current = ticket_.load(std::memory_order_acquire);
  while (current >> 32 == generation) {
    const auto index = static_cast<std::uint32_t>(current);
    if (index >= job_.chunks.load(std::memory_order_acquire)) return false;
    auto* const dst = job_.dst.load(std::memory_order_acquire);
    const auto* const src = job_.src.load(std::memory_order_acquire);
    const auto bytes = job_.bytes.load(std::memory_order_acquire);
    const auto piece = job_.piece.load(std::memory_order_acquire);
    const auto next = ticket(generation, index + 1);
    if (!ticket_.compare_exchange_weak(current, next, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    const auto begin = std::size_t{index} * chunk;
    std::memcpy(dst + begin, src + begin, std::min(chunk, bytes - begin));
    job_.done[begin / piece].fetch_add(1, std::memory_order_release);
    return true;
  }
  return false;
}

}  // namespace fasttrt
