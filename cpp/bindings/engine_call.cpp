#include "bindings/engine_call.hpp"

#include "common/error.hpp"

namespace fasttrt::bindings {

EngineCall::EngineCall(const std::shared_ptr<engine::Dispatcher>& dispatcher,
                       const EngineParts& engine, const Given& given)
    : PyRequest(dispatcher),
      owner_(engine.owner),
      spare_(*engine.resources),
      arguments_(engine.engine->device(), *engine.inputs, *engine.outputs, given, std::nullopt,
                 spare_) {
  if (arguments_.stream()) throw InputError("expected arrays in host memory, got one on a GPU");
}

}  // namespace fasttrt::bindings
