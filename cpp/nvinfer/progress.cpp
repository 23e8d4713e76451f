#include "nvinfer/progress.hpp"

#include <atomic>

#include "nvinfer/callbacks.hpp"

namespace fasttrt::nvinfer {

class ProgressMonitor::Interface final : public abi::ProgressMonitor {
 public:
  explicit Interface(ProgressListener& listener) : listener_(listener) {}

  void phase_start(const char* phase, const char* parent, std::int32_t steps) noexcept override {
    guard([&] { listener_.phase_start(text(phase), text(parent), steps); });
  }
  bool step_complete(const char* phase, std::int32_t step) noexcept override {
    guard([&] { listener_.step_complete(text(phase), step); });
    return !failed_ && !listener_.cancelled();
  }
  void phase_finish(const char* phase) noexcept override {
    guard([&] { listener_.phase_finish(text(phase)); });
  }

 private:
  static std::string text(const char* value) { return value != nullptr ? value : ""; }

  template <class Call>
  void guard(const Call& call) noexcept {
    try {
      call();
    } catch (...) {
      failed_ = true;
    }
  }

  ProgressListener& listener_;
  std::atomic<bool> failed_ = false;
};

ProgressMonitor::ProgressMonitor(ProgressListener& listener)
    : interface_(std::make_unique<Interface>(listener)) {}
ProgressMonitor::~ProgressMonitor() = default;
void* ProgressMonitor::vendor_interface() noexcept {
  return static_cast<abi::ProgressMonitor*>(interface_.get());
}

}  // namespace fasttrt::nvinfer
