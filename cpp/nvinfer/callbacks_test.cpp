// Interfaces that TensorRT calls, called here as it does: through raw vtable slots, in the layout
// of each generation.
#include "nvinfer/callbacks.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "nvinfer/abi.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/profiler.hpp"
#include "nvinfer/progress.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {
namespace {

constexpr std::array generations{Generation::v8, Generation::v10, Generation::v11, Generation::rtx};

// From v11 on a language, an identity and two destructors come before an interface's own methods.
std::size_t first_slot(Generation generation) {
  return generation == Generation::v8 || generation == Generation::v10 ? 0 : 4;
}

template <class R, class... A>
R call_slot(void* object, std::size_t slot, A... arguments) {
  const auto* vtable = *static_cast<void* const* const*>(object);
  return reinterpret_cast<R (*)(void*, A...)>(vtable[slot])(object, arguments...);
}

void check_identity(void* interface, std::string_view kind) {
  CHECK(call_slot<std::int32_t>(interface, 0) == 0);
  const auto info = call_slot<abi::InterfaceInfo>(interface, 1);
  CHECK(info.kind == kind);
  CHECK(info.major == 1);
  CHECK(info.minor == 0);
}

TEST_SUITE_BEGIN("callbacks");

using Texts = std::vector<std::string>;

TEST_CASE("every generation reaches the logger through its own layout") {
  auto& logger = Logger::instance();
  (void)logger.take();
  for (const auto generation : generations) {
    void* const vendor_interface = logger.vendor_interface(generation);
    const auto slot = first_slot(generation);
    if (slot > 0) check_identity(vendor_interface, "ILogger");
    call_slot<void>(vendor_interface, slot, std::int32_t{2}, "a warning\n");
    call_slot<void>(vendor_interface, slot, std::int32_t{3}, "information");
    const auto records = logger.take();
    REQUIRE(records.size() == 1);
    CHECK(records[0].severity == Severity::warning);
    CHECK(records[0].text == "a warning");
  }
}

struct Listener : ProgressListener {
  Texts calls;
  bool stop = false;
  bool fail = false;

  void phase_start(const std::string& phase, const std::string& parent, int steps) override {
    calls.push_back("start " + phase + "<" + parent + " " + std::to_string(steps));
  }
  void step_complete(const std::string& phase, int step) override {
    if (fail) throw std::runtime_error("the listener failed");
    calls.push_back("step " + phase + " " + std::to_string(step));
  }
  void phase_finish(const std::string& phase) override { calls.push_back("finish " + phase); }
  [[nodiscard]] bool cancelled() const noexcept override { return stop; }
};

bool step(ProgressMonitor& monitor, const char* phase, std::int32_t number) {
  return call_slot<bool>(monitor.vendor_interface(), 5, phase, number);
}

TEST_CASE("progress arrives at the listener, who can stop the build") {
  Listener listener;
  ProgressMonitor monitor(listener);
  check_identity(monitor.vendor_interface(), "IProgressMonitor");
  const char* const none = nullptr;
  call_slot<void>(monitor.vendor_interface(), 4, "build", none, std::int32_t{2});
  CHECK(step(monitor, "build", 0));
  listener.stop = true;
  CHECK_FALSE(step(monitor, "build", 1));
  call_slot<void>(monitor.vendor_interface(), 6, "build");
  CHECK(listener.calls == Texts{"start build< 2", "step build 0", "step build 1", "finish build"});
}

TEST_CASE("a listener that throws stops the build, for good") {
  Listener listener;
  ProgressMonitor monitor(listener);
  listener.fail = true;
  CHECK_FALSE(step(monitor, "build", 0));
  listener.fail = false;
  CHECK_FALSE(step(monitor, "build", 1));
}

TEST_CASE("every generation reports layer times through its own layout") {
  Texts layers;
  float total = 0;
  Profiler profiler([&](const char* layer, float milliseconds) {
    layers.emplace_back(layer);
    total += milliseconds;
  });
  for (const auto generation : generations) {
    const auto slot = first_slot(generation);
    if (slot > 0) check_identity(profiler.vendor_interface(generation), "IProfiler");
    const char* const unnamed = nullptr;
    call_slot<void>(profiler.vendor_interface(generation), slot, "conv", 0.5F);
    call_slot<void>(profiler.vendor_interface(generation), slot, unnamed, 0.25F);
  }
  CHECK(layers == Texts{"conv", "", "conv", "", "conv", "", "conv", ""});
  CHECK(total == doctest::Approx(3.0));
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::nvinfer
