#include "engine/batch_pace.hpp"

#include <doctest/doctest.h>

#include <array>
#include <map>

namespace fasttrt::engine {
namespace {

using std::chrono::microseconds;

constexpr std::array<std::int64_t, 6> sizes{1, 2, 4, 8, 16, 32};
// ResNet-50 in float16 on an H200.
const std::map<std::int64_t, int> run_times{{1, 364}, {2, 400},  {4, 470},
                                            {8, 638}, {16, 950}, {32, 1577}};

// Clients that wait for their answers, and come back one after the other.
class Clients {
 public:
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the clients, and what they share
  explicit Clients(std::int64_t count, std::int64_t devices = 1) : pace(devices), count_(count) {}

  // time: what is known of how long the run took; zero: nothing.
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the clients' and the run's
  void run(std::int64_t size, microseconds return_time, microseconds time) {
    const auto rows = std::min(size, count_);
    now_ += std::chrono::seconds(1);
    pace.ended(rows, size, time, now_);
    for (std::int64_t row = 1; row <= rows; ++row) {
      now_ += return_time;
      pace.came(1, count_ - rows + row, now_);
    }
  }
  void run(std::int64_t size, microseconds return_time) {
    run(size, return_time, microseconds(run_times.at(size)));
  }
  void run_all(microseconds return_time) {
    for (const auto size : sizes) run(size, return_time, std::chrono::seconds(1));
    for (const auto size : sizes) run(size, return_time);
  }

  BatchPace pace;

 private:
  std::int64_t count_;
  BatchPace::Clock::time_point now_;
};

}  // namespace

TEST_CASE("half of the clients wait while the others run, unless they are few, or quick") {
  const auto best = [](std::int64_t count, int return_time) {
    Clients clients(count);
    clients.run_all(microseconds(return_time));
    return clients.pace.best(sizes);
  };
  CHECK(best(32, 42) == 16);
  CHECK(best(64, 42) == 32);
  CHECK(best(100, 42) == 32);
  CHECK(best(16, 42) == 8);
  CHECK(best(16, 5) == 16);  // 16 / (950 + 80) beats 8 / 638
  CHECK(best(8, 12) == 8);   // 8 / (638 + 96) beats 4 / 470
  CHECK(best(8, 100) == 4);  // which does not where they take longer
  CHECK(best(2, 12) == 2);
  CHECK(best(1, 42) == 1);
}

TEST_CASE("where clients are slower than runs, the largest batches that they fill are best") {
  Clients clients(24);
  for (const auto size : sizes) {
    for (int i = 0; i < 2; ++i) clients.run(size, microseconds(10), microseconds(20));
  }
  CHECK(clients.pace.best(sizes) == 16);
}

TEST_CASE("clients share the devices") {
  Clients clients(64, 2);
  clients.run_all(microseconds(42));
  CHECK(clients.pace.best(sizes) == 16);
}

TEST_CASE("the largest size is the best until more is known, and sizes not run yet are tried") {
  Clients clients(64);
  CHECK(clients.pace.best(sizes) == 32);
  for (int i = 0; i < 2; ++i) {  // not known before the second run
    clients.run(8, microseconds(42));
    CHECK(clients.pace.best(sizes) == 32);  // which may take as long as 8
  }
  for (int i = 0; i < 2; ++i) clients.run(32, microseconds(42));
  CHECK(clients.pace.best(sizes) == 16);  // so may 16
  for (int i = 0; i < 2; ++i) clients.run(16, microseconds(42));
  CHECK(clients.pace.best(sizes) == 32);
}

TEST_CASE("a run that is slow for once, or fails, changes little") {
  Clients clients(32);
  clients.run_all(microseconds(42));
  clients.run(16, microseconds(42), std::chrono::seconds(1));
  clients.run(32, microseconds(42), microseconds(0));
  CHECK(clients.pace.best(sizes) == 16);
}

TEST_CASE("what was slow for a while is tried again, and clients that are gone are forgotten") {
  Clients clients(32);
  clients.run_all(microseconds(42));
  for (int i = 0; i < 20; ++i) clients.run(16, microseconds(42), microseconds(5000));
  CHECK(clients.pace.best(sizes) != 16);
  int runs = 0;
  for (; runs < 20000 && clients.pace.best(sizes) != 16; ++runs) {
    clients.run(clients.pace.best(sizes), microseconds(42));
  }
  CHECK(runs < 20000);

  Clients few(64);
  few.run_all(microseconds(42));
  for (int i = 0; i < 300; ++i) few.pace.ended(1, 1, microseconds(0), {});
  CHECK(few.pace.best(sizes) <= 2);
}

}  // namespace fasttrt::engine
