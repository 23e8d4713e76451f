#include "nvinfer/profiler.hpp"

#include <utility>

#include "nvinfer/callbacks.hpp"

namespace fasttrt::nvinfer {
namespace {

template <class Interface>
class Face final : public Interface {
 public:
  explicit Face(const Profiler::Report& report) : report_(report) {}
  void report_layer_time(const char* layer, float milliseconds) noexcept override {
    report_(layer != nullptr ? layer : "", milliseconds);
  }

 private:
  const Profiler::Report& report_;
};

}  // namespace

struct Profiler::Faces {
  explicit Faces(Report callback) : report(std::move(callback)), v8(report), v11(report) {}
  Report report;
  Face<abi::ProfilerV8> v8;
  Face<abi::ProfilerV11> v11;
};

Profiler::Profiler(Report report) : faces_(std::make_unique<Faces>(std::move(report))) {}
Profiler::~Profiler() = default;

void* Profiler::face(Generation generation) noexcept {
  if (generation == Generation::v8 || generation == Generation::v10) {
    return static_cast<abi::ProfilerV8*>(&faces_->v8);
  }
  return static_cast<abi::ProfilerV11*>(&faces_->v11);
}

}  // namespace fasttrt::nvinfer
