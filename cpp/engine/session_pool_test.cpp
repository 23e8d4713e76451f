#include "engine/session_pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>

namespace fasttrt::engine {
namespace {

struct FakeSession {
  int number = 0;
  std::atomic<bool> in_use = false;
};

// A pool with its lock, and sessions that count.
class Pool {
 public:
  explicit Pool(int most) : pool_(most) {}

  std::unique_ptr<FakeSession> take() {
    std::unique_lock lock(mutex_);
    auto session = pool_.take(lock, [this] { return make(); });
    CHECK(lock.owns_lock());
    return session;
  }
  // One with a number of at least `least`.
  std::unique_ptr<FakeSession> take_from(int least) {
    std::unique_lock lock(mutex_);
    auto session = pool_.take_if(
        lock, [this] { return make(); },
        [least](const FakeSession& candidate) { return candidate.number >= least; });
    CHECK(lock.owns_lock());
    return session;
  }
  void give_back(std::unique_ptr<FakeSession> session) {
    const std::lock_guard lock(mutex_);
    pool_.give_back(std::move(session));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    pool_.close();
  }
  void clear() { pool_.clear(); }
  void await_waiting(std::size_t count) {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (pool_.waiting() == count) return;
      }
      std::this_thread::yield();
    }
  }
  [[nodiscard]] int made() const { return made_; }

  std::atomic<int> failures = 0;      // of the next attempts to make one
  std::atomic<bool> is_held = false;  // who makes one waits
  std::atomic<bool> is_making = false;

 private:
  std::unique_ptr<FakeSession> make() {
    is_making = true;
    while (is_held) std::this_thread::yield();
    if (failures > 0) {
      --failures;
      throw std::runtime_error("no memory for a session");
    }
    auto session = std::make_unique<FakeSession>();
    session->number = made_++;
    return session;
  }

  std::mutex mutex_;
  SessionPool<FakeSession> pool_;
  std::atomic<int> made_ = 0;
};

auto take_on_thread(Pool& pool) {
  return std::async(std::launch::async, [&pool] { return pool.take(); });
}

TEST_CASE("sessions are made as they are needed, and used again") {
  Pool pool(2);
  auto first = pool.take();
  pool.give_back(std::move(first));
  first = pool.take();
  auto second = pool.take();
  CHECK(first->number == 0);
  CHECK(second->number == 1);
  pool.give_back(std::move(first));
  CHECK(pool.take()->number == 0);
  CHECK(pool.made() == 2);
}

TEST_CASE("who has waited longest gets the next session") {
  Pool pool(1);
  auto session = pool.take();
  auto first = take_on_thread(pool);
  pool.await_waiting(1);
  auto second = take_on_thread(pool);
  pool.await_waiting(2);
  pool.give_back(std::move(session));
  session = first.get();
  pool.await_waiting(1);  // the second still
  pool.give_back(std::move(session));
  CHECK(second.get()->number == 0);
  CHECK(pool.made() == 1);
}

TEST_CASE("a wanted session is an idle one, or made, or waited for; or there is none") {
  Pool pool(3);
  auto first = pool.take();
  auto second = pool.take();
  pool.give_back(std::move(second));
  pool.give_back(std::move(first));  // which take() would give
  second = pool.take_from(1);
  CHECK(second->number == 1);
  auto third = pool.take_from(1);
  CHECK(third->number == 2);  // made, although the first is idle
  auto waiting = std::async(std::launch::async, [&pool] { return pool.take_from(1); });
  pool.await_waiting(1);
  pool.give_back(pool.take());  // the first, which is not wanted
  pool.give_back(std::move(third));
  CHECK(waiting.get()->number == 2);
}

TEST_CASE("who wants what no session is gets none once all have been seen") {
  Pool pool(2);
  pool.give_back(pool.take());
  auto second = pool.take_from(1);
  pool.give_back(std::move(second));
  CHECK(pool.take_from(2) == nullptr);
  CHECK(pool.made() == 2);
  CHECK(pool.take() != nullptr);
}

TEST_CASE("a session that cannot be made is that call's error, and the place is free again") {
  Pool pool(1);
  pool.failures = 1;
  CHECK_THROWS_WITH_AS((void)pool.take(), "no memory for a session", std::runtime_error);
  CHECK(pool.take()->number == 0);
}

TEST_CASE("who waits for a session that could not be made tries itself") {
  Pool pool(1);
  pool.failures = 2;
  pool.is_held = true;
  auto first = take_on_thread(pool);
  while (!pool.is_making) std::this_thread::yield();
  auto second = take_on_thread(pool);
  pool.await_waiting(1);
  auto third = take_on_thread(pool);
  pool.await_waiting(2);
  pool.is_held = false;
  CHECK_THROWS_AS((void)first.get(), std::runtime_error);
  CHECK_THROWS_AS((void)second.get(), std::runtime_error);
  CHECK(third.get()->number == 0);
}

TEST_CASE("a closed pool refuses who waits, and takes sessions back") {
  Pool pool(1);
  auto session = pool.take();
  auto waiting = take_on_thread(pool);
  pool.await_waiting(1);
  pool.close();
  CHECK_THROWS_WITH_AS((void)waiting.get(), "the engine is closed", Error);
  pool.give_back(std::move(session));
}

TEST_CASE("a pool that was cleared makes its sessions anew") {
  Pool pool(1);
  pool.give_back(pool.take());
  pool.clear();
  CHECK(pool.take()->number == 1);
}

TEST_CASE("no session is ever lent twice at a time") {
  Pool pool(2);
  std::atomic<bool> is_right = true;
  {
    std::vector<std::jthread> threads;
    threads.reserve(6);
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] {
        for (int run = 0; run < 500; ++run) {
          auto session = pool.take();
          if (session->in_use.exchange(true)) is_right = false;
          session->in_use = false;
          pool.give_back(std::move(session));
        }
      });
    }
  }
  CHECK(is_right);
  CHECK(pool.made() <= 2);
}

}  // namespace
}  // namespace fasttrt::engine
