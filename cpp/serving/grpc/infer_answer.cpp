#include "serving/grpc/infer_answer.hpp"

#include <cstddef>
#include <string>
#include <vector>

#include "serving/grpc/protobuf_writer.hpp"

namespace fasttrt::serving::grpc {
namespace {

// Fields of ModelInferResponse, of its tensors, and of ModelStreamInferResponse.
constexpr std::uint32_t field_model_name = 1;
constexpr std::uint32_t field_model_version = 2;
constexpr std::uint32_t field_id = 3;
constexpr std::uint32_t field_parameters = 4;
constexpr std::uint32_t field_outputs = 5;
constexpr std::uint32_t field_raw_output_contents = 6;
constexpr std::uint32_t tensor_name = 1;
constexpr std::uint32_t tensor_datatype = 2;
constexpr std::uint32_t tensor_shape = 3;
constexpr std::uint32_t stream_error_message = 1;
constexpr std::uint32_t stream_infer_response = 2;

// Of a result in shared memory nothing is sent, but its place is kept.
std::string_view contents_of(const InferResult& result) noexcept {
  return result.is_shared ? std::string_view() : result.bytes;
}

// {key: "triton_final_response", value: {bool_param: true}}
constexpr std::string_view final_response("\x0a\x15triton_final_response\x12\x02\x08\x01", 27);

void append_request(std::string& message, const InferRequest& request, AnswerKind kind) {
  append_bytes(message, field_model_name, request.model().name());
  append_bytes(message, field_model_version, request.model().version());
  if (!request.id().empty()) append_bytes(message, field_id, request.id());
  if (kind == AnswerKind::stream) append_bytes(message, field_parameters, final_response);
}

void append_tensor(std::string& message, const InferResult& result) {
  std::string tensor;
  append_bytes(tensor, tensor_name, result.tensor->name);
  append_bytes(tensor, tensor_datatype, result.tensor->datatype);
  std::string shape;
  for (const auto size : result.shape) append_varint(shape, static_cast<std::uint64_t>(size));
  if (!shape.empty()) append_bytes(tensor, tensor_shape, shape);
  append_bytes(message, field_outputs, tensor);
}

}  // namespace

OutgoingMessagePtr write_results(InferRequest& request, AnswerKind kind) {
  const auto results = request.results();
  std::string head;
  append_request(head, request, kind);
  std::size_t size = 0;
  for (const auto& result : results) {
    append_tensor(head, result);
    size += field_size(field_raw_output_contents, contents_of(result).size());
  }
  size += head.size();

  auto message = std::make_shared<OutgoingMessage>();
  auto& text = message->text;
  if (kind == AnswerKind::stream) {
    append_frame_head(text, field_size(stream_infer_response, size));
    append_head(text, stream_infer_response, size);
  } else {
    append_frame_head(text, size);
  }
  text += head;
  std::vector<std::size_t> ends;  // of the text before each of the tensors
  ends.reserve(results.size());
  for (const auto& result : results) {
    append_head(text, field_raw_output_contents, contents_of(result).size());
    ends.push_back(text.size());
  }
  // The text does not move any more.
  const std::string_view all(text);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    message->pieces.push_back(all.substr(begin, ends[i] - begin));
    message->pieces.push_back(contents_of(results[i]));
    begin = ends[i];
  }
  message->pieces.push_back(all.substr(begin));
  for (const auto piece : message->pieces) message->size += piece.size();
  message->keeper = engine::RequestRef(&request);
  return message;
}

OutgoingMessagePtr write_failure(const InferRequest& request, std::string_view reason) {
  std::string message;
  append_bytes(message, stream_error_message, reason);
  std::string response;
  append_request(response, request, AnswerKind::stream);
  append_bytes(message, stream_infer_response, response);
  return framed(message);
}

OutgoingMessagePtr write_failure(std::string_view reason) {
  std::string message;
  append_bytes(message, stream_error_message, reason);
  std::string response;
  append_bytes(response, field_parameters, final_response);
  append_bytes(message, stream_infer_response, response);
  return framed(message);
}

}  // namespace fasttrt::serving::grpc
