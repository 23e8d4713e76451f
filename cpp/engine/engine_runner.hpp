// An engine as what a dispatcher runs requests on.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "engine/engine.hpp"
#include "engine/runner.hpp"

namespace fasttrt::engine {

class EngineRunner final : public Runner {
 public:
  // The engine outlives it. Closed, it fails every run.
  explicit EngineRunner(Engine& engine) : engine_(engine) {}

  // Of a model without inputs.
  void run(Request& request) override { engine_.infer(request.inputs(), request.outputs()); }
  void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) override {
    engine_.infer(inputs, outputs);
  }
  [[nodiscard]] std::unique_ptr<GatheredRun> gather() override { return engine_.gather(); }
  [[nodiscard]] std::unique_ptr<GatheredRun> try_gather(std::size_t largest_input) override {
    return engine_.try_gather(largest_input);
  }

 private:
  Engine& engine_;
};

}  // namespace fasttrt::engine
