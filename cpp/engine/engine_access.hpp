// How a call that needs no session holds on to an engine; private to Engine.
#pragma once

#include <mutex>
#include <optional>

#include "cuda/device.hpp"
#include "engine/engine.hpp"

namespace fasttrt::engine {

// Keeps the engine from being closed or refitted, with its device current. Throws Error once
// closed.
class Engine::Stay {
 public:
  explicit Stay(const Engine& engine) : engine_(engine) {
    std::unique_lock lock(engine.mutex_);
    engine.enter(lock);
    guard_.emplace(*engine.setup_.device);
    ++engine.busy_;
  }
  ~Stay() {
    const std::lock_guard lock(engine_.mutex_);
    guard_.reset();
    engine_.leave();
  }
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;

 private:
  const Engine& engine_;
  std::optional<cuda::ContextGuard> guard_;
};

// The same, alone: waits for the calls under way, and lets new ones wait. All sessions are idle
// meanwhile.
class Engine::Alone {
 public:
  explicit Alone(Engine& engine) : engine_(engine) {
    std::unique_lock lock(engine.mutex_);
    engine.enter(lock);
    guard_.emplace(*engine.setup_.device);
    ++engine.busy_;
    engine.refitting_ = true;
    engine.idle_changed_.wait(lock, [&] { return engine.busy_ == 1; });
    if (!engine.closed_) return;
    leave();
    throw Error("the engine is closed");
  }
  ~Alone() {
    const std::lock_guard lock(engine_.mutex_);
    leave();
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  void leave() {
    guard_.reset();
    engine_.refitting_ = false;
    engine_.leave();
  }

  Engine& engine_;
  std::optional<cuda::ContextGuard> guard_;
};

}  // namespace fasttrt::engine
