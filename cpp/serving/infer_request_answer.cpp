// What becomes of an infer request.
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/enums.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {
namespace {

using engine::Outcome;

template <class E>
bool is_error(const std::exception_ptr& error) noexcept {
  try {
    if (error != nullptr) std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
  return false;
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& caught) {
    return caught.what();
  } catch (...) {
    return "the run failed";
  }
}

}  // namespace

std::optional<InferFailure> InferRequest::conclude() {
  if (outcome() != Outcome::ok) return failure(error());
  try {
    for (const auto& wanted : wanted_) {
      if (wanted.region != nullptr) share(wanted);
    }
  } catch (const InputError&) {
    return failure(std::current_exception());
  }
  const bool has_batch = model_->max_batch_size() > 0 && !inputs_.empty();
  model_->counters().succeed(taken(), has_batch ? inputs_.front().shape[0] : 1);
  return std::nullopt;
}

std::size_t InferRequest::byte_size_of(const Wanted& wanted) const noexcept {
  return nvinfer::byte_size(model_->outputs()[wanted.index].dtype,
                            outputs_[wanted.index].shape.volume());
}

// Copies an output to where its client wants it.
void InferRequest::share(const Wanted& wanted) const {
  const auto bytes = byte_size_of(wanted);
  if (bytes > wanted.max_bytes) {
    throw InputError("shared memory size specified with the request for output '" +
                     model_->outputs()[wanted.index].name + "' (" +
                     std::to_string(wanted.max_bytes) + " bytes) should be at least " +
                     std::to_string(bytes) + " bytes to hold the results");
  }
  const auto* const data = static_cast<const char*>(outputs_[wanted.index].data());
  wanted.region->write(wanted.offset, {data, bytes});
}

std::vector<InferResult> InferRequest::results() const {
  std::vector<InferResult> results;
  results.reserve(wanted_.size());
  for (const auto& wanted : wanted_) {
    const auto& array = outputs_[wanted.index];
    results.push_back({&model_->outputs()[wanted.index],
                       array.shape,
                       {static_cast<const char*>(array.data()), byte_size_of(wanted)},
                       wanted.region != nullptr});
  }
  return results;
}

InferFailure InferRequest::failure(const std::exception_ptr& error) const {
  using Kind = InferFailure::Kind;
  auto& counters = model_->counters();
  switch (outcome()) {
    case Outcome::late:
      counters.fail(taken(), FailureReason::rejected);
      return {Kind::unavailable, text_of(error)};
    case Outcome::cancelled:
      counters.fail(taken(), FailureReason::canceled);
      return {Kind::unavailable, "the request was cancelled as its model was closed"};
    default: break;
  }
  const bool is_known = is_error<Error>(error);
  counters.fail(taken(), is_known ? FailureReason::backend : FailureReason::other);
  return {is_error<InputError>(error) ? Kind::invalid : Kind::internal, text_of(error)};
}

void InferRequest::count_as_rejected() const {
  model_->counters().fail(taken(), FailureReason::rejected);
}

void InferRequest::count_as_canceled() const {
  model_->counters().fail(taken(), FailureReason::canceled);
}

bool InferRequest::is_engine_lost() const noexcept {
  return outcome() == Outcome::error && is_error<CudaError>(error());
}

EngineFailure InferRequest::engine_failure() const {
  return {model_->name(), model_->version(), text_of(error())};
}

}  // namespace fasttrt::serving
