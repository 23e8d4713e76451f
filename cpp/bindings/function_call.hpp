// Runs that a Python function does: of a model on the CPU.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>

#include "bindings/request.hpp"
#include "engine/runner.hpp"

namespace fasttrt::bindings {

// function(arrays, out) returns a sequence of results.
class FunctionCall final : public PyRequest {
 public:
  FunctionCall(const std::shared_ptr<engine::Dispatcher>& dispatcher, pybind11::function function,
               pybind11::object arrays, pybind11::object out);

  // On a thread without the GIL. Throws Error where the function raises something.
  void call();

 private:
  [[nodiscard]] pybind11::list make_results() override;
  void throw_python_error() const override;

  pybind11::function function_;
  pybind11::object arrays_;
  pybind11::object out_;
  pybind11::object returned_;
  pybind11::object raised_;
};

// For these alone.
class FunctionRunner final : public engine::Runner {
 public:
  void run(engine::Request& request) override { dynamic_cast<FunctionCall&>(request).call(); }
  void run(std::span<const engine::InputArray> /*inputs*/,
           std::span<engine::OutputArray> /*outputs*/) override {}
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> gather() override { return nullptr; }
  [[nodiscard]] std::unique_ptr<engine::GatheredRun> try_gather(
      std::size_t /*largest_input*/) override {
    return nullptr;
  }
};

}  // namespace fasttrt::bindings
