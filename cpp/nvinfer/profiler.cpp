#include "nvinfer/profiler.hpp"

#include <utility>

#include "nvinfer/callbacks.hpp"

namespace fasttrt::nvinfer {
namespace {

template <class Interface>
class VendorProfiler final : public Interface {
 public:
  explicit VendorProfiler(const Profiler::Report& report) : report_(report) {}
  void report_layer_time(const char* layer, float milliseconds) noexcept override {
    report_(layer != nullptr ? layer : "", milliseconds);
  }

 private:
  const Profiler::Report& report_;
};

}  // namespace

struct Profiler::Interfaces {
  explicit Interfaces(Report callback) : report(std::move(callback)), v8(report), v11(report) {}
  Report report;
  VendorProfiler<abi::ProfilerV8> v8;
  VendorProfiler<abi::ProfilerV11> v11;
};

Profiler::Profiler(Report report) : interfaces_(std::make_unique<Interfaces>(std::move(report))) {}
Profiler::~Profiler() = default;

void* Profiler::vendor_interface(Generation generation) noexcept {
  if (generation == Generation::v8 || generation == Generation::v10) {
    return static_cast<abi::ProfilerV8*>(&interfaces_->v8);
  }
  return static_cast<abi::ProfilerV11*>(&interfaces_->v11);
}

}  // namespace fasttrt::nvinfer
