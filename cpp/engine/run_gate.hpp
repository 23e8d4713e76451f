// Who may use an engine: any number of calls together, a refit alone, nobody once it is closed.
#pragma once

#include <condition_variable>
#include <mutex>

namespace fasttrt::engine {

// Its mutex also guards what calls take and give back on their way in and out (sessions), so that
// each way locks it once. All but lock() are called with the lock, and let go of it while they
// wait.
class RunGate {
 public:
  using Lock = std::unique_lock<std::mutex>;
  [[nodiscard]] Lock lock() { return Lock(mutex_); }

  // Waits while somebody is inside alone. Throws Error once the gate is closed.
  void enter(Lock& lock);
  void leave() noexcept;

  // Keeps new calls waiting until leave_alone(), and waits for those inside. Throws Error once the
  // gate is closed.
  void enter_alone(Lock& lock);
  void leave_alone() noexcept;

  // Refuses new calls for good, then waits for those inside.
  void close(Lock& lock) noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return is_closed_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  bool is_alone_ = false;
  bool is_closed_ = false;
};

// Stays inside for a scope.
class SharedEntry {
 public:
  explicit SharedEntry(RunGate& gate) : gate_(gate) {
    auto lock = gate.lock();
    gate.enter(lock);
  }
  ~SharedEntry() {
    const auto lock = gate_.lock();
    gate_.leave();
  }
  SharedEntry(const SharedEntry&) = delete;
  SharedEntry& operator=(const SharedEntry&) = delete;

 private:
  RunGate& gate_;
};

// The same, alone.
class ExclusiveEntry {
 public:
  explicit ExclusiveEntry(RunGate& gate) : gate_(gate) {
    auto lock = gate.lock();
    gate.enter_alone(lock);
  }
  ~ExclusiveEntry() {
    const auto lock = gate_.lock();
    gate_.leave_alone();
  }
  ExclusiveEntry(const ExclusiveEntry&) = delete;
  ExclusiveEntry& operator=(const ExclusiveEntry&) = delete;

 private:
  RunGate& gate_;
};

}  // namespace fasttrt::engine
