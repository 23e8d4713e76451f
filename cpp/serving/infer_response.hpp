// The answers of HTTP to infer requests.
#pragma once

#include <string_view>

#include "serving/http_response.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {

// Of a request that is done, which is counted with those of its model. Its memory is the request's.
[[nodiscard]] HttpResponse infer_response(InferRequest& request);

// Says that a queue is full.
[[nodiscard]] HttpResponse full_queue_response(std::string_view reason);

}  // namespace fasttrt::serving
