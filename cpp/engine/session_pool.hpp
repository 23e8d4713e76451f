// An engine's sessions, each lent to one run at a time.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/error.hpp"

namespace fasttrt::engine {

// Makes sessions as they are needed, `most` of them. Who waits for one gets it first come, first
// served. All functions but clear() need the owner's lock.
template <class Session>
class SessionPool {
 public:
  using Lock = std::unique_lock<std::mutex>;

  explicit SessionPool(int most) : most_(most) {
    idle_.reserve(static_cast<std::size_t>(most));  // giving one back must not fail
  }

  // An idle session, one that make() makes while there are fewer than `most`, or else the next that
  // is given back. Lets go of the lock while it makes one or waits, and has it again when it
  // returns or throws: what make() throws, or Error once the pool is closed.
  template <class Make>
  [[nodiscard]] std::unique_ptr<Session> take(Lock& lock, const Make& make) {
    if (auto session = take_idle()) return session;
    if (count_ == most_) {
      if (auto session = wait(lock)) return session;
    }
    return add(lock, make);
  }

  // The same, but only of sessions for which is_wanted() is true; null if there is none among those
  // that were given back in a while, for a pool that is busy.
  template <class Make, class IsWanted>
  [[nodiscard]] std::unique_ptr<Session> take_if(Lock& lock, const Make& make,
                                                 const IsWanted& is_wanted) {
    constexpr int patience = 256;  // sessions
    for (int i = 0; i < patience; ++i) {
      const auto found =
          std::ranges::find_if(idle_, [&](const auto& session) { return is_wanted(*session); });
      if (found != idle_.end()) {
        std::swap(*found, idle_.back());
        return take(lock, make);
      }
      if (count_ < most_) return add(lock, make);
      if (idle_.size() == static_cast<std::size_t>(count_)) return nullptr;  // it has seen all
      auto session = wait(lock);
      if (session == nullptr) return add(lock, make);
      if (is_wanted(*session)) return session;
      give_back(std::move(session));
    }
    return nullptr;
  }

  // Null where none is idle.
  [[nodiscard]] std::unique_ptr<Session> take_idle() noexcept {
    if (idle_.empty()) return nullptr;
    auto session = std::move(idle_.back());
    idle_.pop_back();
    return session;
  }

  // To who has waited longest, if there is one.
  void give_back(std::unique_ptr<Session> session) noexcept {
    if (waiting_.empty() || is_closed_) {
      idle_.push_back(std::move(session));
      return;
    }
    auto* const next = waiting_.front();
    waiting_.pop_front();
    next->session = std::move(session);
    next->ready.notify_one();
  }

  // Who waits is refused from now on, and sessions that are given back stay idle.
  void close() noexcept {
    is_closed_ = true;
    for (auto* const waiting : waiting_) waiting->ready.notify_one();
  }

  // Calls that wait for a session.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

  // Destroys the sessions, to be made anew by the next runs. All of them must be idle, and nobody
  // else may be using the pool.
  void clear() noexcept {
    idle_.clear();
    count_ = 0;
  }

 private:
  struct Waiting {
    std::condition_variable ready;
    std::unique_ptr<Session> session;
  };

  // Null if there is no session left that could be given back: making them failed.
  std::unique_ptr<Session> wait(Lock& lock) {
    Waiting self;
    waiting_.push_back(&self);
    self.ready.wait(lock, [&] { return self.session != nullptr || is_closed_ || count_ == 0; });
    if (self.session != nullptr) return std::move(self.session);
    std::erase(waiting_, &self);
    if (is_closed_) throw Error("the engine is closed");
    return nullptr;
  }

  template <class Make>
  std::unique_ptr<Session> add(Lock& lock, const Make& make) {
    ++count_;
    lock.unlock();
    try {
      auto session = make();
      lock.lock();
      return session;
    } catch (...) {
      lock.lock();
      // Who waits waits for a session to be given back. If there is none, it has to try itself.
      if (--count_ == 0 && !waiting_.empty()) waiting_.front()->ready.notify_one();
      throw;
    }
  }

  const int most_;
  int count_ = 0;  // idle, lent, or being made
  std::vector<std::unique_ptr<Session>> idle_;
  std::deque<Waiting*> waiting_;
  bool is_closed_ = false;
};

}  // namespace fasttrt::engine
