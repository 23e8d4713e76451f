// What a dispatcher has done so far.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>

#include "engine/request.hpp"

namespace fasttrt::engine {

struct DispatchStatistics {
  using Duration = Request::Clock::duration;

  // Requests by what became of them.
  std::uint64_t ok = 0;
  std::uint64_t errors = 0;
  std::uint64_t late = 0;       // not begun, or not done, by their deadlines
  std::uint64_t rejected = 0;   // as the queue was full
  std::uint64_t cancelled = 0;  // before they began

  std::uint64_t runs = 0;
  std::uint64_t rows = 0;                           // without padding
  std::map<std::int64_t, std::uint64_t> run_sizes;  // rows of a run, padding included: runs

  std::uint64_t waiting = 0;                // requests that have not begun
  std::uint64_t most_waiting = 0;           // so far
  std::uint64_t running = 0;                // runs under way
  Request::Clock::time_point last_arrival;  // of a request that was queued

  // Sums over requests, except run: over runs.
  Duration queue{};    // from when a request came until its run began
  Duration staging{};  // copying its arrays in
  Duration run{};
  Duration copy_out{};  // copying its results out of those of a batch

  // Sums over the requests that ended well: each one of a batch counts all of its run.
  Duration request_queue{};
  Duration request_run{};
  Duration request_copy_out{};

  // Runs that ended well.
  struct Runs {
    std::uint64_t count = 0;
    Duration run{};
    Duration copy_out{};
  };
  std::map<std::int64_t, Runs> batches;  // by batch size without padding; later sizes count as 0

  void count_batch(std::int64_t size, Duration time, Duration copying) noexcept {
    constexpr std::size_t most_sizes = 256;
    const bool is_known = batches.size() < most_sizes || batches.contains(size);
    auto& runs = batches[is_known ? size : 0];
    ++runs.count;
    runs.run += time;
    runs.copy_out += copying;
  }

  void count(Outcome outcome) noexcept {
    switch (outcome) {
      case Outcome::ok: ++ok; break;
      case Outcome::error: ++errors; break;
      case Outcome::late: ++late; break;
      case Outcome::cancelled: ++cancelled; break;
      case Outcome::pending: break;
    }
  }
};

}  // namespace fasttrt::engine
