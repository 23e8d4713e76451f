// The part of Engine that replaces its weights, and says where they lie.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "engine/engine.hpp"
#include "engine/engine_access.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/refitter.hpp"

namespace fasttrt::engine {
namespace {

std::string list(const std::vector<std::string>& names) {
  constexpr std::size_t most = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, names.size()); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

// A model's weights, read and given to a refitter; the engine's own are untouched until apply().
class NewWeights {
 public:
  // Throws InputError for a model that does not fit the engine.
  NewWeights(const std::shared_ptr<nvinfer::CudaEngine>& engine, const OnnxSource& model)
      : refitter_(nvinfer::Refitter::create(engine)),
        parser_(nvinfer::ParserRefitter::create(refitter_)) {
    const nvinfer::ErrorScope errors;
    const bool read = model.bytes.empty() ? parser_->read_file(model.path)
                                          : parser_->read(model.bytes, model.path);
    const auto missing = read ? refitter_->missing_weights() : std::vector<std::string>();
    if (read && missing.empty()) return;
    std::string text = "the model's weights do not fit the engine";
    for (const auto& issue : parser_->issues()) text += "; " + issue.reason;
    if (!missing.empty()) text += "; these weights are missing: " + list(missing);
    throw InputError(errors.explain(text));
  }

  // False on failure: some of the weights may be new, and some old.
  [[nodiscard]] bool apply() { return refitter_->apply(); }

 private:
  std::shared_ptr<nvinfer::Refitter> refitter_;
  std::unique_ptr<nvinfer::ParserRefitter> parser_;  // has the weights
};

}  // namespace

void Engine::refit(const OnnxSource& model) {
  const ExclusiveAccess access(*this);
  NewWeights weights(shared_.engine, model);
  // Waits for what they have queued. TensorRT promises that contexts stay valid and says nothing of
  // CUDA graphs that were captured with them, so both are made anew by the next runs.
  sessions_.clear();
  const nvinfer::ErrorScope errors;
  broken_.clear();
  if (weights.apply()) return;
  broken_ = errors.explain(
      "a refit failed midway: some of the engine's weights are new and some old. Refit it again, "
      "or load the plan anew");
  throw Error(broken_);
}

std::vector<std::string> Engine::refittable_weights() const {
  const SharedAccess access(*this);
  return nvinfer::Refitter::create(shared_.engine)->all_weights();
}

// Before there is a context: an engine without weights cannot have one, and the budget is fixed
// from then on.
void Engine::prepare_weights() {
  const nvinfer::ErrorScope errors;
  if (options_.weights) {
    NewWeights weights(shared_.engine, *options_.weights);
    if (!weights.apply()) {
      throw EngineLoadError(errors.explain("the plan could not be given the model's weights"));
    }
    options_.weights.reset();
  }
  if (!options_.weight_streaming_budget) return;
  if (!shared_.engine->has(nvinfer::methods::engine_set_weight_streaming_budget)) {
    throw UnsupportedLibraryError("weight_streaming_budget is not an option of " + library_->str() +
                                  ", which cannot stream weights");
  }
  const auto size = shared_.engine->streamable_weights_size();
  if (size <= 0) {
    throw InputError(
        "weight_streaming_budget: expected a plan built with weight_streaming=True (and with "
        "weights that can be streamed), got one without");
  }
  if (!shared_.engine->set_weight_streaming_budget(
          std::min(*options_.weight_streaming_budget, size))) {
    throw EngineLoadError(errors.explain(
        "weight_streaming_budget=" + std::to_string(*options_.weight_streaming_budget) +
        " was refused; " + std::to_string(size) + " bytes of weights can be streamed"));
  }
}

}  // namespace fasttrt::engine
