#include "serving/infer_request.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::serving {
namespace {

using engine::InputArray;
using engine::Outcome;
using nvinfer::DataType;
using nvinfer::Dims;

constexpr std::uint64_t highest_priority = 1;
constexpr std::uint64_t longest_timeout_us = 1'000'000'000'000'000;

bool fits(const Dims& shape, const Dims& expected) noexcept {
  return std::ranges::equal(shape, expected,
                            [](auto size, auto wanted) { return wanted < 0 || size == wanted; });
}

// Whether an array of the shape has so many bytes.
bool has_size(const Dims& shape, DataType type, std::uint64_t bytes) noexcept {
  auto left = bytes / static_cast<std::uint64_t>(nvinfer::bits_per_element(type) / 8);
  std::uint64_t volume = 1;
  for (const auto size : shape) {
    const auto extent = static_cast<std::uint64_t>(size);
    if (extent != 0 && volume > left / extent) return false;
    volume *= extent;
  }
  return nvinfer::byte_size(type, static_cast<std::int64_t>(volume)) == bytes;
}

bool is_aligned(const void* data, DataType type) noexcept {
  const auto element = static_cast<std::uintptr_t>(nvinfer::bits_per_element(type) / 8);
  return reinterpret_cast<std::uintptr_t>(data) % element == 0;
}

bool is_boolean(std::string_view data) noexcept {
  return std::ranges::all_of(data, [](char byte) { return byte == 0 || byte == 1; });
}

void append_shape(std::string& json, const Dims& shape) {
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

InferRequestRef InferRequest::make(const ServedModelPtr& model, RequestBody& body,
                                   std::size_t json_bytes, InferHeader& header) {
  const auto bytes = body.bytes();
  if (json_bytes > bytes.size()) return {};
  if (!read_infer_header(bytes.substr(0, json_bytes), header)) return {};
  if (header.timeout_us > longest_timeout_us) return {};
  const auto now = Clock::now();
  InferRequestRef request(new InferRequest(model, now));
  if (!request->place_inputs(header, bytes.substr(json_bytes)) ||
      !request->select_outputs(header) || !request->is_batch_valid()) {
    return {};
  }
  request->id_ = header.id;
  if (header.priority == highest_priority) request->priority = engine::Priority::high;
  if (header.timeout_us > 0) {
    request->deadline = now + std::chrono::microseconds(header.timeout_us);
  }
  request->outputs_.resize(model->outputs().size());
  request->body_ = std::move(body);  // the views stay valid
  return request;
}

bool InferRequest::place_inputs(const InferHeader& header, std::string_view data) {
  if (header.inputs.size() != model_->inputs().size()) return false;
  inputs_.resize(header.inputs.size());
  for (const auto& input : header.inputs) {
    if (!place_input(input, data)) return false;
  }
  return data.empty();
}

// The array at the beginning of the data, which it is taken off.
bool InferRequest::place_input(const InferHeader::Input& input, std::string_view& data) {
  const auto& tensors = model_->inputs();
  const auto tensor = std::ranges::find(tensors, input.name, &ServedModel::Tensor::name);
  if (tensor == tensors.end() || tensor->datatype != input.datatype) return false;
  if (!fits(input.shape, tensor->shape)) return false;
  if (input.bytes > data.size() || !has_size(input.shape, tensor->dtype, input.bytes)) return false;
  auto& array = inputs_[static_cast<std::size_t>(tensor - tensors.begin())];
  if (array.data != nullptr) return false;  // it came twice
  const auto bytes = data.substr(0, static_cast<std::size_t>(input.bytes));
  if (tensor->dtype == DataType::boolean && !is_boolean(bytes)) return false;
  const void* const begin = data.data();
  array = {begin, input.shape, engine::Place::host};
  if (!is_aligned(begin, tensor->dtype)) {
    auto& copy = aligned_.emplace_back(bytes.size());
    if (!bytes.empty()) std::memcpy(copy.data(), begin, bytes.size());
    array.data = copy.data();
  }
  data.remove_prefix(bytes.size());
  return true;
}

bool InferRequest::select_outputs(const InferHeader& header) {
  const auto& tensors = model_->outputs();
  for (const auto name : header.outputs) {
    const auto tensor = std::ranges::find(tensors, name, &ServedModel::Tensor::name);
    const auto index = static_cast<std::size_t>(tensor - tensors.begin());
    if (tensor == tensors.end() || std::ranges::find(selected_, index) != selected_.end()) {
      return false;
    }
    selected_.push_back(index);
  }
  if (!selected_.empty()) return true;
  for (std::size_t i = 0; i < tensors.size(); ++i) selected_.push_back(i);
  return true;
}

bool InferRequest::is_batch_valid() const noexcept {
  const auto most = model_->max_batch_size();
  if (most == 0 || inputs_.empty()) return true;
  if (inputs_.front().shape.rank() == 0) return false;
  const auto size = inputs_.front().shape[0];
  return size >= 1 && size <= most && std::ranges::all_of(inputs_, [&](const InputArray& array) {
           return array.shape.rank() > 0 && array.shape[0] == size;
         });
}

HttpResponse InferRequest::response() { return outcome() == Outcome::ok ? results() : failure(); }

HttpResponse InferRequest::results() {
  HttpResponse response;
  std::string& json = response.body;
  json += '{';
  if (!id_.empty()) json.append(R"("id":")").append(id_).append(R"(",)");
  json += model_->json();
  bool is_first = true;
  for (const auto index : selected_) {
    const auto& tensor = model_->outputs()[index];
    const auto& array = outputs_[index];
    const auto bytes = nvinfer::byte_size(tensor.dtype, array.shape.volume());
    if (!std::exchange(is_first, false)) json += ',';
    json += tensor.json;
    append_shape(json, array.shape);
    json.append(R"(],"parameters":{"binary_data_size":)")
        .append(std::to_string(bytes))
        .append("}}");
    if (bytes > 0) response.parts.emplace_back(static_cast<const char*>(array.data()), bytes);
  }
  json += "]}";
  response.headers = "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: " +
                     std::to_string(json.size()) + "\r\n";
  response.keeper = engine::RequestRef(this);
  const bool has_batch = model_->max_batch_size() > 0 && !inputs_.empty();
  model_->counters().succeed(taken(), has_batch ? inputs_.front().shape[0] : 1);
  return response;
}

HttpResponse InferRequest::failure() {
  auto& counters = model_->counters();
  switch (outcome()) {
    case Outcome::late:
      counters.fail(taken(), FailureReason::rejected);
      return error_response(503, text_of(error()));
    case Outcome::cancelled:
      counters.fail(taken(), FailureReason::canceled);
      return error_response(503, "the request was cancelled as its model was closed");
    default: break;
  }
  const bool is_known = is_error<Error>(error());
  counters.fail(taken(), is_known ? FailureReason::backend : FailureReason::other);
  return error_response(is_error<InputError>(error()) ? 400 : 500, text_of(error()));
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
