#include "engine/run_gate.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

constexpr int rounds = 200;

bool is_closed(RunGate& gate) {
  const auto lock = gate.lock();
  return gate.is_closed();
}

void close(RunGate& gate) {
  auto lock = gate.lock();
  gate.close(lock);
}

template <class Function>
auto start(const Function& function) {
  return std::async(std::launch::async, function);
}

TEST_CASE("calls are inside together, one that is alone is not") {
  RunGate gate;
  std::atomic<int> calls = 0;
  std::atomic<int> alone = 0;
  std::atomic<bool> is_right = true;
  const auto call = [&] {
    for (int i = 0; i < rounds; ++i) {
      const SharedEntry entry(gate);
      ++calls;
      if (alone != 0) is_right = false;
      --calls;
    }
  };
  const auto refit = [&] {
    for (int i = 0; i < rounds; ++i) {
      const ExclusiveEntry entry(gate);
      if (++alone != 1 || calls != 0) is_right = false;
      --alone;
    }
  };
  {
    const std::array<std::jthread, 5> threads{std::jthread(call), std::jthread(call),
                                              std::jthread(call), std::jthread(refit),
                                              std::jthread(refit)};
  }
  CHECK(is_right);
  const SharedEntry first(gate);
  const SharedEntry second(gate);  // does not wait
  CHECK_FALSE(is_closed(gate));
}

TEST_CASE("a refit waits for the calls inside, and new calls for the refit") {
  RunGate gate;
  std::atomic<bool> call_is_over = false;
  std::atomic<bool> refit_is_over = false;
  std::optional<SharedEntry> call(gate);
  auto refit = start([&] {
    const ExclusiveEntry entry(gate);
    const bool waited = call_is_over;
    refit_is_over = true;
    return waited;
  });
  call_is_over = true;
  call.reset();
  CHECK(refit.get());
  const SharedEntry next(gate);
  CHECK(refit_is_over);
}

TEST_CASE("close() waits for those inside and refuses all others") {
  RunGate gate;
  std::atomic<bool> call_is_over = false;
  std::optional<SharedEntry> call(gate);
  auto closed = start([&] {
    close(gate);
    return call_is_over.load();
  });
  while (!is_closed(gate)) std::this_thread::yield();
  CHECK_THROWS_WITH_AS(SharedEntry{gate}, "the engine is closed", Error);
  CHECK_THROWS_WITH_AS(ExclusiveEntry{gate}, "the engine is closed", Error);
  call_is_over = true;
  call.reset();
  CHECK(closed.get());
  close(gate);  // once more does nothing
}

TEST_CASE("close() ends the wait of a refit and of calls behind it") {
  for (int i = 0; i < rounds; ++i) {
    RunGate gate;
    std::optional<SharedEntry> call(gate);
    auto refit = start([&] { const ExclusiveEntry entry(gate); });
    auto behind = start([&] { const SharedEntry entry(gate); });
    auto closing = start([&] { close(gate); });
    while (!is_closed(gate)) std::this_thread::yield();
    call.reset();
    closing.get();
    CHECK_THROWS_AS(refit.get(), Error);
    try {
      behind.get();  // may have been in before
    } catch (const Error&) {
      CHECK(is_closed(gate));
    }
  }
}

}  // namespace
}  // namespace fasttrt::engine
