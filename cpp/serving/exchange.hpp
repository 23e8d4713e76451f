// A request on a connection, and its answer once there is one.
#pragma once

#include <memory>
#include <optional>

#include "serving/http_response.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {

class Connection;

// The event loop's thread alone uses what it has; others only hold it.
struct Exchange {
  Connection* connection = nullptr;  // null once it is closed
  Persistence persistence = Persistence::keep;
  bool is_head_request = false;
  InferRequestRef infer;  // while the dispatcher has it
  std::optional<WireResponse> answer;
};
using ExchangePtr = std::shared_ptr<Exchange>;

}  // namespace fasttrt::serving
