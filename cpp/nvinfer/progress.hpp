// Build progress, as TensorRT reports it: phases within phases, each of a number of steps.
#pragma once

#include <memory>
#include <string>

namespace fasttrt::nvinfer {

// What the application implements. TensorRT calls it from any of its threads, also from several
// at once.
class ProgressListener {
 public:
  virtual ~ProgressListener() = default;
  // parent is empty for a phase of its own.
  virtual void phase_start(const std::string& phase, const std::string& parent, int steps) = 0;
  virtual void step_complete(const std::string& phase, int step) = 0;
  virtual void phase_finish(const std::string& phase) = 0;
  // True to stop the build at the next step.
  [[nodiscard]] virtual bool cancelled() const noexcept = 0;
};

// Gives a listener the layout that TensorRT expects; exceptions of the listener stop the build.
class ProgressMonitor {
 public:
  explicit ProgressMonitor(ProgressListener& listener);
  ~ProgressMonitor();
  ProgressMonitor(const ProgressMonitor&) = delete;
  ProgressMonitor& operator=(const ProgressMonitor&) = delete;
  [[nodiscard]] void* vendor_interface() noexcept;

 private:
  class Interface;
  std::unique_ptr<Interface> interface_;
};

}  // namespace fasttrt::nvinfer
