// How a call holds on to an engine; private to Engine.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "cuda/device.hpp"
#include "engine/engine.hpp"

namespace fasttrt::engine {

// Holds a session for the time of a run, with the device current. Throws Error once closed.
class Engine::SessionLease {
 public:
  // Waits for one.
  explicit SessionLease(Engine& engine)
      : SessionLease(engine, [&](auto& lock) {
          const auto start = RunClock::now();
          auto session = engine.sessions_.take(lock, [&] { return engine.make_session(); });
          engine.counts_.queue += RunClock::now() - start;
          return session;
        }) {}
  // One that the warm-up round has not seen; there may be none.
  SessionLease(Engine& engine, std::uint64_t warmup_round)
      : SessionLease(engine, [&](auto& lock) {
          return engine.sessions_.take_if(
              lock, [&] { return engine.make_session(); },
              [&](const Session& session) { return session.warmup_round != warmup_round; });
        }) {}
  // Null where none is idle.
  [[nodiscard]] static std::unique_ptr<SessionLease> try_lease(Engine& engine) {
    std::unique_ptr<SessionLease> lease(
        new SessionLease(engine, [&](auto&) { return engine.sessions_.take_idle(); }));
    return *lease ? std::move(lease) : nullptr;
  }
  ~SessionLease() {
    guard_.reset();
    // Both under one lock, so that close() cannot be over before this thread is done.
    const auto lock = engine_.gate_.lock();
    if (session_ != nullptr) {
      if (const auto run = session_->take_record()) engine_.counts_.add(*run);
      engine_.sessions_.give_back(std::move(session_));
    }
    engine_.gate_.leave();
  }
  SessionLease(const SessionLease&) = delete;
  SessionLease& operator=(const SessionLease&) = delete;

  [[nodiscard]] explicit operator bool() const noexcept { return session_ != nullptr; }
  Session* operator->() const noexcept { return session_.get(); }

 private:
  template <std::invocable<RunGate::Lock&> Take>
  SessionLease(Engine& engine, const Take& take) : engine_(engine) {
    auto lock = engine.gate_.lock();
    engine.gate_.enter(lock);
    try {
      if (!engine.broken_.empty()) throw Error(engine.broken_);
      guard_.emplace(*engine.shared_.device);
      session_ = take(lock);
    } catch (...) {
      guard_.reset();
      engine.gate_.leave();
      throw;
    }
  }

  Engine& engine_;
  std::optional<cuda::ContextGuard> guard_;
  std::unique_ptr<Session> session_;
};

// Keeps the engine from being closed or refitted, with its device current. Throws Error once
// closed.
class Engine::SharedAccess {
 public:
  explicit SharedAccess(const Engine& engine)
      : entry_(engine.gate_), guard_(*engine.shared_.device) {}

 private:
  SharedEntry entry_;
  cuda::ContextGuard guard_;
};

// The same, alone: waits for the calls under way, and lets new ones wait. All sessions are idle
// meanwhile.
class Engine::ExclusiveAccess {
 public:
  explicit ExclusiveAccess(const Engine& engine)
      : entry_(engine.gate_), guard_(*engine.shared_.device) {}

 private:
  ExclusiveEntry entry_;
  cuda::ContextGuard guard_;
};

}  // namespace fasttrt::engine
