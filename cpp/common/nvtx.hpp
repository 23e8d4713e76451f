// Named ranges for profilers (Nsight Systems and others), by NVTX's protocol: a tool names its
// library in NVTX_INJECTION64_PATH, and asks there for the pointers that it wants to set. Without
// one a range costs a comparison.
#pragma once

namespace fasttrt::nvtx {

// Whether a tool takes ranges. The first call loads the tool's library, if there is one.
[[nodiscard]] bool is_recording() noexcept;

// A range of this thread, for a scope, in the domain "fasttrt". Ranges nest.
class Range {
 public:
  // name: for the time of this call only.
  explicit Range(const char* name) noexcept;
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  bool is_open_ = false;
};

}  // namespace fasttrt::nvtx
