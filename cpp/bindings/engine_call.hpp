// Runs that an engine does for a dispatcher.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <span>
#include <vector>

#include "bindings/call_resources.hpp"
#include "bindings/request.hpp"
#include "bindings/run_arguments.hpp"
#include "engine/engine.hpp"

namespace fasttrt::bindings {

// What a call needs of a _core.Engine, which `owner` is.
struct EngineParts {
  pybind11::object owner;
  engine::Engine* engine = nullptr;
  const std::vector<Binding>* inputs = nullptr;
  const std::vector<Binding>* outputs = nullptr;
  CallResources* resources = nullptr;
};

// Throws InputError for another object. In engine.cpp.
[[nodiscard]] EngineParts engine_parts(const pybind11::object& object);

class EngineCall final : public PyRequest {
 public:
  // Throws InputError that names the tensor, what was expected and what came; also for arrays on a
  // GPU.
  EngineCall(const std::shared_ptr<engine::Dispatcher>& dispatcher, const EngineParts& engine,
             const Given& given);

  [[nodiscard]] std::span<const engine::InputArray> inputs() const noexcept override {
    return arguments_.inputs();
  }
  [[nodiscard]] std::span<engine::OutputArray> outputs() noexcept override {
    return arguments_.outputs();
  }

 private:
  [[nodiscard]] pybind11::list make_results() override { return arguments_.results(); }

  pybind11::object owner_;
  SpareStream spare_;
  RunArguments arguments_;
};

}  // namespace fasttrt::bindings
