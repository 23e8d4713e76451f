// How an infer request is answered.
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/enums.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {
namespace {

using engine::Outcome;

void append_shape(std::string& json, const nvinfer::Dims& shape) {
  bool is_first = true;
  for (const auto size : shape) {
    if (!std::exchange(is_first, false)) json += ',';
    json += std::to_string(size);
  }
}

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

HttpResponse InferRequest::response() {
  if (outcome() != Outcome::ok) return failure(error());
  try {
    return results();
  } catch (const InputError&) {  // of shared memory
    return failure(std::current_exception());
  }
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

HttpResponse InferRequest::results() {
  for (const auto& wanted : wanted_) {
    if (wanted.region != nullptr) share(wanted);
  }
  HttpResponse response;
  std::string& json = response.body;
  json += '{';
  if (!id_.empty()) json.append(R"("id":")").append(id_).append(R"(",)");
  json += model_->json();
  bool is_first = true;
  bool has_binary = false;
  for (const auto& wanted : wanted_) {
    const auto& array = outputs_[wanted.index];
    if (!std::exchange(is_first, false)) json += ',';
    json += model_->outputs()[wanted.index].json;
    append_shape(json, array.shape);
    if (wanted.region != nullptr) {
      json += "]}";
      continue;
    }
    has_binary = true;
    const auto bytes = byte_size_of(wanted);
    json.append(R"(],"parameters":{"binary_data_size":)")
        .append(std::to_string(bytes))
        .append("}}");
    if (bytes > 0) response.parts.emplace_back(static_cast<const char*>(array.data()), bytes);
  }
  json += "]}";
  response.headers =
      has_binary ? "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: " +
                       std::to_string(json.size()) + "\r\n"
                 : "Content-Type: application/json\r\n";
  response.keeper = engine::RequestRef(this);
  const bool has_batch = model_->max_batch_size() > 0 && !inputs_.empty();
  model_->counters().succeed(taken(), has_batch ? inputs_.front().shape[0] : 1);
  return response;
}

HttpResponse InferRequest::failure(const std::exception_ptr& error) const {
  auto& counters = model_->counters();
  switch (outcome()) {
    case Outcome::late:
      counters.fail(taken(), FailureReason::rejected);
      return error_response(503, text_of(error));
    case Outcome::cancelled:
      counters.fail(taken(), FailureReason::canceled);
      return error_response(503, "the request was cancelled as its model was closed");
    default: break;
  }
  const bool is_known = is_error<Error>(error);
  counters.fail(taken(), is_known ? FailureReason::backend : FailureReason::other);
  return error_response(is_error<InputError>(error) ? 400 : 500, text_of(error));
}

HttpResponse InferRequest::reject(std::string_view reason) const {
  model_->counters().fail(taken(), FailureReason::rejected);
  auto response = error_response(503, reason);
  response.headers += "Retry-After: 1\r\n";
  return response;
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
