// How a call that needs no session holds on to an engine; private to Engine.
#pragma once

#include "cuda/device.hpp"
#include "engine/engine.hpp"

namespace fasttrt::engine {

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
