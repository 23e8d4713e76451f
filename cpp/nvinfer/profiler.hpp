// Time by layer, as TensorRT reports it after a run.
#pragma once

#include <functional>
#include <memory>

#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

class Profiler {
 public:
  // report(layer, milliseconds) is called on the thread that runs the context. It must not throw.
  using Report = std::function<void(const char* layer, float milliseconds)>;
  explicit Profiler(Report report);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;
  [[nodiscard]] void* vendor_interface(Generation generation) noexcept;

 private:
  struct Interfaces;
  std::unique_ptr<Interfaces> interfaces_;
};

}  // namespace fasttrt::nvinfer
