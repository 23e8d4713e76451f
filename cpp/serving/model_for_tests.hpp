// A model for tests, and for fuzzing: two inputs, two outputs, computed on the spot.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/dispatcher.hpp"
#include "serving/served_model.hpp"

namespace fasttrt::serving {

// x (-1, 3) of floats and id (-1) of bytes; twice x, and id.
class TestRunner final : public engine::Runner {
 public:
  void run(engine::Request& request) override { run(request.inputs(), request.outputs()); }
  void run(std::span<const engine::InputArray> inputs,
           std::span<engine::OutputArray> outputs) override {
    std::vector<float> x(static_cast<std::size_t>(inputs[0].shape.volume()));
    if (!x.empty()) std::memcpy(x.data(), inputs[0].data, x.size() * sizeof(float));
    for (auto& value : x) value *= 2;
    write(outputs[0], inputs[0].shape, x.data(), x.size() * sizeof(float));
    const auto rows = static_cast<std::size_t>(inputs[1].shape.volume());
    write(outputs[1], inputs[1].shape, inputs[1].data, rows);
  }
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> gather() override { return nullptr; }
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> try_gather(std::size_t /*largest*/) override {
    return nullptr;
  }

 private:
  static void write(engine::OutputArray& output, const nvinfer::Dims& shape, const void* data,
                    std::size_t bytes) {
    output.shape = shape;
    output.host = engine::HostBuffer(bytes);
    if (bytes > 0) std::memcpy(output.data(), data, bytes);
  }
};

struct TestModel {
  static std::vector<engine::IoTensor> tensors() {
    using nvinfer::Dims;
    const auto range = [](Dims min, Dims max) {
      return engine::ProfileRange{min, max, max, {}, {}, {}};
    };
    return {{"x", nvinfer::DataType::float32, {-1, 3}, false, {range({0, 3}, {99, 3})}},
            {"id", nvinfer::DataType::uint8, {-1}, false, {range({0}, {99})}}};
  }
  static std::vector<ServedTensor> inputs() {
    return {{"x", "FP32", {-1, 3}}, {"id", "UINT8", {-1}}};
  }
  static std::vector<ServedTensor> outputs() {
    return {{"twice", "FP32", {-1, 3}}, {"same", "UINT8", {-1}}};
  }

  TestModel() {
    std::vector<std::unique_ptr<engine::Runner>> runners;
    runners.push_back(std::make_unique<TestRunner>());
    engine::DispatcherOptions options;
    options.wait = engine::WaitPolicy::block;
    dispatcher = std::make_shared<engine::Dispatcher>(
        std::move(runners), engine::RunTensors{all, all, nullptr, nullptr}, options);
  }
  [[nodiscard]] std::shared_ptr<const ServedModel> served(std::string name, std::string version,
                                                          std::int64_t max_batch_size = 0) const {
    return std::make_shared<const ServedModel>(std::move(name), std::move(version), dispatcher,
                                               inputs(), outputs(), max_batch_size);
  }

  const std::vector<engine::IoTensor> all = tensors();
  std::shared_ptr<engine::Dispatcher> dispatcher;
};

}  // namespace fasttrt::serving
