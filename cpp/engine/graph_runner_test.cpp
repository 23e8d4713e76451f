#include "engine/graph_runner.hpp"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "cuda/driver_fake.hpp"
#include "cuda/memory.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

using nvinfer::Dims;

constexpr std::size_t bytes = 4096;
constexpr std::array<std::int64_t, 2> key{0, 7};
constexpr int out_of_memory = 2;
constexpr int invalid_value = 1;

// A run that copies its input to its output, both in the host's memory; a copying one by way of a
// buffer on the device.
class CopyRun final : public CapturableRun {
 public:
  CopyRun(const cuda::FakeDriver& driver, const std::shared_ptr<cuda::PrimaryContext>& device,
          cuda::StreamRef stream)
      : driver_(driver),
        stream_(stream),
        input_(device, bytes, cuda::HostMemory::mapped),
        output_(device, bytes, cuda::HostMemory::mapped),
        buffer_(device, bytes) {
    cuda::fill_on_device(buffer_.data(), 0, bytes, stream);
    change_input();
  }

  [[nodiscard]] bool enqueue() override {
    ++enqueued;
    if (is_refused) return false;
    driver_.sleep(stream_.handle(), copies_ ? copying_time : direct_time);
    const void* source = input_.data();
    if (copies_) {
      cuda::copy_to_device(buffer_.data(), source, bytes, stream_);
      source = buffer_.data();
    }
    cuda::copy_on_device(output_.data(), source, bytes, stream_);
    return true;
  }
  [[nodiscard]] bool reads_host_memory() const override { return is_mapped; }
  void copy_inputs() override { copies_ = true; }

  // Whether a launch of the graph brings what the input has by now.
  [[nodiscard]] bool is_replayed_by(GraphRunner& runner) {
    change_input();
    const auto* const run = runner.find(key);
    return run != nullptr && runner.launch(*run, stream_) && has_copied();
  }
  [[nodiscard]] bool has_copied() const {
    return std::ranges::equal(values(input_), values(output_));
  }
  void change_input() {
    for (auto& byte : values(input_)) byte = static_cast<unsigned char>(random_());
  }
  [[nodiscard]] bool used_buffer() const {
    return std::ranges::equal(std::span(static_cast<unsigned char*>(buffer_.data()), bytes),
                              values(input_));
  }

  bool is_refused = false;
  bool is_mapped = false;
  int direct_time = 0;  // microseconds
  int copying_time = 0;
  int enqueued = 0;

 private:
  static std::span<unsigned char> values(const cuda::PinnedBuffer& buffer) {
    return {static_cast<unsigned char*>(buffer.data()), bytes};
  }

  const cuda::FakeDriver& driver_;
  cuda::StreamRef stream_;
  cuda::PinnedBuffer input_, output_;
  cuda::DeviceBuffer buffer_;
  bool copies_ = false;
  std::mt19937 random_{5};
};

// All that a runner needs, on the fake driver.
struct Bench {
  explicit Bench(const cuda::FakeDriver& fake, GraphPolicy policy = GraphPolicy::automatic)
      : driver(fake) {
    state.device = device;
    state.graphs = policy;
  }

  [[nodiscard]] bool note(CapturableRun* noted) {
    return runner.note(key, {Dims{4, 10}}, noted, stream);
  }
  [[nodiscard]] bool note() { return note(&run); }

  const cuda::FakeDriver& driver;
  std::shared_ptr<cuda::PrimaryContext> device = cuda::PrimaryContext::retain(0);
  cuda::ContextGuard guard{*device};
  cuda::Stream stream{device};
  Waiter waiter{device, WaitPolicy::automatic};
  SharedSessionState state;
  GraphRunner runner{state, stream, waiter};
  CopyRun run{driver, device, stream};
};

TEST_CASE("a run is captured when it comes again, and replayed from then on") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  Bench bench(*driver);
  CHECK(bench.runner.find(key) == nullptr);
  CHECK(bench.note());
  CHECK(bench.runner.find(key) == nullptr);
  CHECK(bench.run.enqueued == 0);
  CHECK(bench.note());
  REQUIRE(bench.runner.find(key) != nullptr);
  CHECK(bench.runner.find(key)->output_shapes == std::vector{Dims{4, 10}});
  for (int i = 0; i < 3; ++i) CHECK(bench.run.is_replayed_by(bench.runner));
  CHECK(bench.run.enqueued == 1);
  bench.runner.clear();
  CHECK(bench.runner.find(key) == nullptr);
}

TEST_CASE("nothing is captured that must not or cannot be") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  Bench never(*driver, GraphPolicy::never);
  Bench hosted(*driver);
  for (int i = 0; i < 4; ++i) {
    CHECK(never.note());
    CHECK(hosted.note(nullptr));
  }
  CHECK(never.run.enqueued == 0);
  CHECK(never.runner.find(key) == nullptr);
  CHECK(hosted.runner.find(key) == nullptr);
}

TEST_CASE("a run is launched as a graph that is not kept, also where none are to be") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  const auto before = driver->objects();
  for (const auto policy : {GraphPolicy::automatic, GraphPolicy::never}) {
    Bench bench(*driver, policy);
    const auto kept = driver->objects();
    for (int i = 1; i <= 3; ++i) {
      bench.run.change_input();
      CHECK(bench.runner.launch_once(bench.run, bench.stream));
      CHECK(bench.run.has_copied());
      CHECK(bench.run.enqueued == i);
    }
    CHECK(driver->objects() == kept);
    CHECK(bench.runner.find(key) == nullptr);
  }
  CHECK(driver->objects() == before);
}

TEST_CASE("where a run cannot be launched as a graph it is left to others, and not tried forever") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  Bench bench(*driver);
  driver->fail("cuGraphInstantiateWithFlags", out_of_memory, 1);
  CHECK_FALSE(bench.runner.launch_once(bench.run, bench.stream));
  CHECK_FALSE(bench.runner.is_context_suspect());
  for (const char* const refused : {"cuGraphGetEdges_v2", "cuGraphInstantiateWithFlags", ""}) {
    CHECK(bench.note());
    bench.run.is_refused = std::string(refused).empty();
    if (!bench.run.is_refused) driver->fail(refused, invalid_value, 1);
    CHECK_FALSE(bench.runner.launch_once(bench.run, bench.stream));
    CHECK(bench.runner.is_context_suspect());
    bench.runner.reset();
  }
  bench.run.is_refused = false;
  const auto enqueued = bench.run.enqueued;
  CHECK_FALSE(bench.runner.launch_once(bench.run, bench.stream));
  CHECK(bench.run.enqueued == enqueued);

  Bench required(*driver, GraphPolicy::required);
  required.run.is_refused = true;
  CHECK_THROWS_AS((void)required.runner.launch_once(required.run, required.stream), Error);
}

TEST_CASE("a graph that copies its inputs first is kept where it is quicker") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  for (const bool copying_is_quicker : {true, false}) {
    Bench bench(*driver);
    bench.run.is_mapped = true;
    bench.run.direct_time = copying_is_quicker ? 20'000 : 0;
    bench.run.copying_time = copying_is_quicker ? 0 : 20'000;
    CHECK(bench.note());
    CHECK(bench.note());
    CHECK(bench.run.enqueued == 2);
    CHECK(bench.run.is_replayed_by(bench.runner));
    CHECK(bench.run.used_buffer() == copying_is_quicker);
  }
}

TEST_CASE("a capture that fails is tried again, but not forever, and leaves the context suspect") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  for (const bool is_refused : {true, false}) {
    Bench bench(*driver);
    bench.run.is_refused = is_refused;
    for (int failures = 1; failures <= 3; ++failures) {
      if (!is_refused) driver->fail("cuGraphInstantiateWithFlags", invalid_value, 1);
      CHECK(bench.note());
      CHECK_FALSE(bench.note());
      CHECK(bench.runner.is_context_suspect());
      CHECK(bench.runner.find(key) == nullptr);
      CHECK(bench.state.failed_captures == failures);
      bench.runner.reset();
      CHECK_FALSE(bench.runner.is_context_suspect());
    }
    for (int i = 0; i < 3; ++i) CHECK(bench.note());
    CHECK(bench.run.enqueued == 3);
  }
}

TEST_CASE("the reason is logged once the model runs without graphs") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  auto& logger = nvinfer::Logger::instance();
  (void)logger.take();
  logger.set_threshold(nvinfer::Severity::info);
  Bench bench(*driver);
  bench.run.is_refused = true;
  for (int i = 0; i < 8; ++i) (void)bench.note();
  const auto lines = logger.take();
  logger.set_threshold(nvinfer::Severity::warning);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].text == "this model runs without CUDA graphs: TensorRT refused it");
}

TEST_CASE("where graphs are required a failed capture is an error") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  Bench bench(*driver, GraphPolicy::required);
  bench.run.is_refused = true;
  CHECK(bench.note());
  CHECK_THROWS_WITH_AS((void)bench.note(),
                       "cuda_graph=True, but this model cannot be captured in a CUDA graph: "
                       "TensorRT refused it",
                       Error);
  CHECK(bench.runner.is_context_suspect());
}

TEST_CASE("where memory is short for a graph the run does without, and may be captured later") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  for (const auto policy : {GraphPolicy::automatic, GraphPolicy::required}) {
    const bool is_required = policy == GraphPolicy::required;
    Bench bench(*driver, policy);
    CHECK(bench.note());
    driver->fail("cuGraphInstantiateWithFlags", out_of_memory, 1);
    if (is_required) {
      CHECK_THROWS_AS((void)bench.note(), OutOfMemoryError);
    } else {
      CHECK_FALSE(bench.note());
    }
    CHECK_FALSE(bench.runner.is_context_suspect());
    CHECK(bench.state.failed_captures == 0);
    CHECK(bench.note());
    CHECK(bench.note());
    CHECK(bench.run.is_replayed_by(bench.runner));
    driver->fail("cuGraphLaunch", out_of_memory, 1);
    if (is_required) {
      CHECK_THROWS_AS((void)bench.run.is_replayed_by(bench.runner), OutOfMemoryError);
    } else {
      CHECK_FALSE(bench.run.is_replayed_by(bench.runner));
    }
    CHECK(bench.runner.find(key) == nullptr);
  }
}

TEST_CASE("captures are made while others stay away, and nothing is left of them") {
  const auto driver = cuda::FakeDriver::find();
  if (!driver) return;
  const auto before = driver->objects();
  {
    Bench bench(*driver);
    int exclusions = 0;
    bench.state.exclusion = [&](const std::function<void()>& work) {
      ++exclusions;
      work();
    };
    CHECK(bench.note());
    CHECK(bench.note());
    CHECK(exclusions == 1);
    bench.run.is_refused = true;
    bench.runner.clear();
    CHECK(bench.note());
    CHECK_FALSE(bench.note());
    CHECK(exclusions == 2);
    CHECK_FALSE(bench.stream.is_capturing());
  }
  CHECK(driver->objects() == before);
}

}  // namespace
}  // namespace fasttrt::engine
