// A Python function as what a dispatcher runs requests on.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "engine/io_tensor.hpp"
#include "engine/runner.hpp"

namespace fasttrt::bindings {

// The tensors of a model that a function runs: arrays of them may come from elsewhere than Python.
struct FunctionTensors {
  std::vector<engine::IoTensor> inputs;
  std::vector<engine::IoTensor> outputs;

  // Each (name, dtype, shape, [(min, opt, max)]). Empty where TensorRT has no such dtype, so that
  // the core has none, either.
  static FunctionTensors of(const pybind11::sequence& inputs, const pybind11::sequence& outputs);
  [[nodiscard]] bool empty() const noexcept { return inputs.empty() && outputs.empty(); }
};

// function(arrays, None) returns the results, and must not keep the arrays, which are read-only
// views. Function and tensors outlive it.
class FunctionRunner final : public engine::Runner {
 public:
  FunctionRunner(pybind11::handle function, const FunctionTensors& tensors)
      : function_(function), tensors_(tensors) {}

  // Of a FunctionCall, or of a model without inputs.
  void run(engine::Request& request) override;
  // Takes the GIL. Throws what the function raises as its namesake in the core, and Error for
  // results of another dtype or rank.
  void run(std::span<const engine::InputArray> inputs,
           std::span<engine::OutputArray> outputs) override;
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> gather() override;
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> try_gather(
      std::size_t /*largest_input*/) override {
    return nullptr;  // batches gain nothing from being there early
  }

 private:
  pybind11::handle function_;
  const FunctionTensors& tensors_;
};

}  // namespace fasttrt::bindings
