// What an engine has done so far.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

#include "common/error.hpp"

namespace fasttrt::engine {

using RunClock = std::chrono::steady_clock;

// One run of a session, as it counts.
struct RunRecord {
  std::int64_t rows = 1;   // the first input's dimension 0; 1 for a scalar
  bool is_warmup = false;  // no run of anybody's
  bool is_replay = false;
  bool is_captured = false;
  bool is_compiled = false;       // kernels were compiled, or looked up in the cache of them
  RunClock::duration staging{};   // copying inputs, and queueing the work
  RunClock::duration compile{};   // the part of it that prepared kernels for new sizes
  RunClock::duration compute{};   // waiting for the GPU; 0 for a run that nobody waited for
  RunClock::duration copy_out{};  // copying results
};

class RunCounts {
 public:
  RunCounts() { runs_by_rows.reserve(most_sizes + 1); }  // counting must not fail

  std::uint64_t runs = 0;
  std::uint64_t rows = 0;
  std::vector<std::pair<std::int64_t, std::uint64_t>> runs_by_rows;  // in no order
  std::uint64_t replays = 0;
  std::uint64_t captures = 0;
  std::uint64_t compiles = 0;
  std::uint64_t input_errors = 0;
  std::uint64_t cuda_errors = 0;
  std::uint64_t memory_errors = 0;  // OutOfMemoryError
  std::uint64_t other_errors = 0;
  RunClock::duration queue{};  // waiting for a session
  RunClock::duration staging{};
  RunClock::duration compile{};
  RunClock::duration compute{};
  RunClock::duration copy_out{};

  void add_error(const std::exception& error) noexcept {
    if (dynamic_cast<const InputError*>(&error) != nullptr) {
      ++input_errors;
    } else if (dynamic_cast<const CudaError*>(&error) != nullptr) {
      ++cuda_errors;
    } else if (dynamic_cast<const OutOfMemoryError*>(&error) != nullptr) {
      ++memory_errors;
    } else {
      ++other_errors;
    }
  }

  void add(const RunRecord& run) noexcept {
    captures += static_cast<std::uint64_t>(run.is_captured);
    compiles += static_cast<std::uint64_t>(run.is_compiled);
    compile += run.compile;
    if (run.is_warmup) return;
    ++runs;
    rows += static_cast<std::uint64_t>(run.rows);
    replays += static_cast<std::uint64_t>(run.is_replay);
    staging += run.staging;
    compute += run.compute;
    copy_out += run.copy_out;
    count_rows(run.rows);
  }

 private:
  static constexpr std::size_t most_sizes = 256;

  // An engine sees few sizes; beyond the first `most_sizes` of them they count as one, 0.
  void count_rows(std::int64_t size) noexcept {
    const auto has_size = [&](const auto& entry) { return entry.first == size; };
    auto found = std::ranges::find_if(runs_by_rows, has_size);
    if (found == runs_by_rows.end() && runs_by_rows.size() >= most_sizes) {
      size = 0;
      found = std::ranges::find_if(runs_by_rows, has_size);
    }
    if (found == runs_by_rows.end()) found = runs_by_rows.insert(found, {size, 0});
    ++found->second;
  }
};

// Bytes that an engine holds.
struct MemoryHeld {
  std::size_t device = 0;
  std::size_t pinned = 0;

  MemoryHeld& operator+=(const MemoryHeld& other) noexcept {
    device += other.device;
    pinned += other.pinned;
    return *this;
  }
};

}  // namespace fasttrt::engine
