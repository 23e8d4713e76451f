#include "engine/run_counts.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <new>
#include <random>

namespace fasttrt::engine {
namespace {

using std::chrono::microseconds;

TEST_CASE("runs are counted by their rows, and their times are added up") {
  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<std::int64_t> rows(1, 40);
  RunCounts counts;
  std::map<std::int64_t, std::uint64_t> right;
  std::uint64_t total = 0;
  for (int i = 0; i < 500; ++i) {
    RunRecord run;
    run.rows = rows(random);
    run.is_replay = i % 5 == 0;
    run.is_captured = i % 7 == 0;
    run.is_compiled = i % 11 == 0;
    run.staging = microseconds(1);
    run.compile = microseconds(2);
    run.compute = microseconds(3);
    run.copy_out = microseconds(4);
    counts.add(run);
    ++right[run.rows];
    total += static_cast<std::uint64_t>(run.rows);
  }
  CHECK(counts.runs == 500);
  CHECK(counts.rows == total);
  CHECK(counts.replays == 100);
  CHECK(counts.captures == 72);
  CHECK(counts.compiles == 46);
  CHECK(counts.staging == microseconds(500));
  CHECK(counts.compile == microseconds(1000));
  CHECK(counts.compute == microseconds(1500));
  CHECK(counts.copy_out == microseconds(2000));
  CHECK(std::map(counts.runs_by_rows.begin(), counts.runs_by_rows.end()) == right);
}

TEST_CASE("a warm-up is no run, but compiles and captures") {
  RunCounts counts;
  RunRecord run;
  run.is_warmup = true;
  run.is_captured = true;
  run.is_compiled = true;
  run.compile = microseconds(5);
  counts.add(run);
  CHECK(counts.runs == 0);
  CHECK(counts.rows == 0);
  CHECK(counts.runs_by_rows.empty());
  CHECK(counts.captures == 1);
  CHECK(counts.compiles == 1);
  CHECK(counts.compile == microseconds(5));
}

TEST_CASE("of thousands of sizes the later ones are counted together") {
  RunCounts counts;
  constexpr int sizes = 3000;
  for (int again = 0; again < 2; ++again) {
    for (int i = 1; i <= sizes; ++i) {
      RunRecord run;
      run.rows = i;
      counts.add(run);
    }
  }
  const std::map by_rows(counts.runs_by_rows.begin(), counts.runs_by_rows.end());
  CHECK(by_rows.size() == counts.runs_by_rows.size());  // each once
  CHECK(by_rows.size() < 300);
  CHECK(by_rows.at(1) == 2);
  CHECK(by_rows.at(0) == 2 * (sizes - (by_rows.size() - 1)));
}

TEST_CASE("errors are counted by their kind") {
  RunCounts counts;
  counts.add_error(InputError("x"));
  counts.add_error(InputError("y"));
  counts.add_error(CudaError("x", 700, "call"));
  counts.add_error(OutOfMemoryError("x"));
  counts.add_error(Error("x"));
  counts.add_error(std::bad_alloc());
  CHECK(counts.input_errors == 2);
  CHECK(counts.cuda_errors == 1);
  CHECK(counts.memory_errors == 1);
  CHECK(counts.other_errors == 2);
}

}  // namespace
}  // namespace fasttrt::engine
