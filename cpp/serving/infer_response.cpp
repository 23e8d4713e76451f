#include "serving/infer_response.hpp"

#include <string>
#include <utility>

#include "nvinfer/dims.hpp"

namespace fasttrt::serving {
namespace {

void append_shape(std::string& json, const nvinfer::Dims& shape) {
  bool is_first = true;
  for (const auto size : shape) {
    if (!std::exchange(is_first, false)) json += ',';
    json += std::to_string(size);
  }
}

HttpResponse results(InferRequest& request) {
  HttpResponse response;
  std::string& json = response.body;
  json += '{';
  if (!request.id().empty()) json.append(R"("id":")").append(request.id()).append(R"(",)");
  json += request.model().json();
  bool is_first = true;
  bool has_binary = false;
  for (const auto& [tensor, shape, bytes, is_shared] : request.results()) {
    if (!std::exchange(is_first, false)) json += ',';
    json += tensor->json;
    append_shape(json, shape);
    if (is_shared) {
      json += "]}";
      continue;
    }
    has_binary = true;
    json.append(R"(],"parameters":{"binary_data_size":)")
        .append(std::to_string(bytes.size()))
        .append("}}");
    if (!bytes.empty()) response.parts.push_back(bytes);
  }
  json += "]}";
  response.headers =
      has_binary ? "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: " +
                       std::to_string(json.size()) + "\r\n"
                 : "Content-Type: application/json\r\n";
  response.keeper = engine::RequestRef(&request);
  return response;
}

int status_of(InferFailure::Kind kind) noexcept {
  switch (kind) {
    case InferFailure::Kind::unavailable: return 503;
    case InferFailure::Kind::invalid: return 400;
    case InferFailure::Kind::internal: break;
  }
  return 500;
}

}  // namespace

HttpResponse infer_response(InferRequest& request) {
  const auto failure = request.conclude();
  return failure ? error_response(status_of(failure->kind), failure->text) : results(request);
}

HttpResponse full_queue_response(std::string_view reason) {
  auto response = error_response(503, reason);
  response.headers += "Retry-After: 1\r\n";
  return response;
}

}  // namespace fasttrt::serving
