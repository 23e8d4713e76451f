// Answers to infer requests as protobuf messages.
#pragma once

#include <string_view>

#include "serving/grpc/outgoing_message.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving::grpc {

// A ModelInferResponse, or a ModelStreamInferResponse with one that is the request's last.
enum class AnswerKind : std::uint8_t { unary, stream };

// Of a request that has not failed; its memory is the request's.
[[nodiscard]] OutgoingMessagePtr write_results(InferRequest& request, AnswerKind kind);

// A ModelStreamInferResponse that says why a request failed.
[[nodiscard]] OutgoingMessagePtr write_failure(const InferRequest& request,
                                               std::string_view reason);
[[nodiscard]] OutgoingMessagePtr write_failure(std::string_view reason);

}  // namespace fasttrt::serving::grpc
