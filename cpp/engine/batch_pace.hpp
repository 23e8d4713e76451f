// Up to which size batches are best gathered, from how long runs and clients take.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <span>

namespace fasttrt::engine {

// While a device runs a batch of some clients, the others send what the next batch is of. A batch
// that is larger than what they have waits, with the device idle, for clients of the run before:
// so a batch of half of all clients may serve more of them than one of all. With N clients that
// take w each to come back, one after the other, and runs of T(s), batches of s serve
//     s / (T(s) + w max(0, 2 s - N))
// rows a second, as each run is followed by the wait for those of its batch that the clients in
// its neighbour cannot make up for (bench/batcher_model.py derives it); and no more than 1 / w. Of
// sizes that serve as many the largest is best, which takes the fewest runs.
class BatchPace {
 public:
  using Clock = std::chrono::steady_clock;
  using Duration = Clock::duration;

  // devices: which share the clients evenly.
  explicit BatchPace(std::int64_t devices = 1) noexcept : devices_(devices) {}

  // Rows came into the queue, after which so many are in it or run.
  void came(std::int64_t rows, std::int64_t in_flight, Clock::time_point now) noexcept;
  // A run of so many rows ended. time: what it took of its device, padded to `size`: since it
  // began, or since the run before it ended if that was later. Zero: not known, or it failed. The
  // first run of a size does not count, as it may compile kernels.
  void ended(std::int64_t rows, std::int64_t size, Duration time, Clock::time_point now);

  // The best of the sizes, which ascend; the last one as long as too little is known.
  [[nodiscard]] std::int64_t best(std::span<const std::int64_t> sizes) const noexcept;

 private:
  [[nodiscard]] double run_time(std::int64_t size) const noexcept;

  const std::int64_t devices_;
  std::map<std::int64_t, double> run_times_;  // seconds, by size
  std::set<std::int64_t> tried_;              // sizes that have run
  double clients_ = 0;                        // rows in flight at most, lately
  double return_time_ = 0;                    // seconds from one client's return to the next one's
  std::int64_t awaited_ = 0;                  // rows that have not come back since
  std::int64_t left_ = 0;                     // of so many that were done
  Clock::time_point since_;
};

}  // namespace fasttrt::engine
