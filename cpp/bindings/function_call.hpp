// Runs that a Python function does: of a model on the CPU.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/request.hpp"

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

}  // namespace fasttrt::bindings
