// Interfaces that TensorRT calls, in the vtable order of each generation. A C++ class with its
// virtual functions in the vendor's order has the vendor's layout (Itanium C++ ABI), so the
// compiler builds the tables; the header check compares them.
#pragma once

#include <cstdint>

#include "nvinfer/abi.hpp"

namespace fasttrt::nvinfer::abi {

// The base of every interface from v10 on, and of the logger and the profiler from v11 on.
class VersionedInterface {
 public:
  [[nodiscard]] virtual std::int32_t get_api_language() const noexcept { return 0; }  // C++
  [[nodiscard]] virtual InterfaceInfo get_interface_info() const noexcept = 0;
  virtual ~VersionedInterface() = default;
};

class LoggerV8 {  // also v10
 public:
  virtual void log(std::int32_t severity, const char* text) noexcept = 0;
  virtual ~LoggerV8() = default;
};

class LoggerV11 : public VersionedInterface {
 public:
  [[nodiscard]] InterfaceInfo get_interface_info() const noexcept override {
    return {"ILogger", 1, 0};
  }
  virtual void log(std::int32_t severity, const char* text) noexcept = 0;
};

class ProfilerV8 {  // also v10
 public:
  virtual void report_layer_time(const char* layer, float milliseconds) noexcept = 0;
  virtual ~ProfilerV8() = default;
};

class ProfilerV11 : public VersionedInterface {
 public:
  [[nodiscard]] InterfaceInfo get_interface_info() const noexcept override {
    return {"IProfiler", 1, 0};
  }
  virtual void report_layer_time(const char* layer, float milliseconds) noexcept = 0;
};

class ProgressMonitor : public VersionedInterface {  // v10 and later
 public:
  [[nodiscard]] InterfaceInfo get_interface_info() const noexcept override {
    return {"IProgressMonitor", 1, 0};
  }
  virtual void phase_start(const char* phase, const char* parent, std::int32_t steps) noexcept = 0;
  virtual bool step_complete(const char* phase, std::int32_t step) noexcept = 0;
  virtual void phase_finish(const char* phase) noexcept = 0;
};

class OutputAllocatorV8 {
 public:
  [[nodiscard]] virtual std::int32_t get_interface_version() const noexcept { return 1; }
  virtual void* reallocate_output(const char* tensor, void* current, std::uint64_t size,
                                  std::uint64_t alignment) noexcept = 0;
  virtual void notify_shape(const char* tensor, const Dims32& dims) noexcept = 0;
  virtual ~OutputAllocatorV8() = default;
};

class OutputAllocatorV10 : public VersionedInterface {  // also v11
 public:
  [[nodiscard]] InterfaceInfo get_interface_info() const noexcept override {
    return {"IOutputAllocator", 1, 0};
  }
  virtual void* reallocate_output(const char* tensor, void* current, std::uint64_t size,
                                  std::uint64_t alignment) noexcept = 0;
  virtual void* reallocate_output_async(const char* tensor, void* current, std::uint64_t size,
                                        std::uint64_t alignment, void* stream) noexcept = 0;
  virtual void notify_shape(const char* tensor, const Dims64& dims) noexcept = 0;
};

class OutputAllocatorRtx : public VersionedInterface {
 public:
  [[nodiscard]] InterfaceInfo get_interface_info() const noexcept override {
    return {"IOutputAllocator", 1, 0};
  }
  virtual void* reallocate_output_async(const char* tensor, void* current, std::uint64_t size,
                                        std::uint64_t alignment, void* stream) noexcept = 0;
  virtual void notify_shape(const char* tensor, const Dims64& dims) noexcept = 0;
};

}  // namespace fasttrt::nvinfer::abi
