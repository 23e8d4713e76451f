// Whether an object is of the process that a forked one came from: its threads are not here, and
// its locks may be locked for good.
#pragma once

namespace fasttrt::bindings {

// A member that remembers the process in which it was made.
class Process {
 public:
  Process() noexcept;
  [[nodiscard]] bool is_another() const noexcept;

 private:
  int generation_;
};

}  // namespace fasttrt::bindings
