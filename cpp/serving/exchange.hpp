// A request on a connection of HTTP/1.1, and its answer once there is one.
#pragma once

#include <memory>
#include <optional>

#include "serving/exchange_record.hpp"
#include "serving/http_response.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {

class HttpConnection;

// The event loop's thread alone uses what it has; others only hold it.
struct Exchange final : InferWaiter {
  HttpConnection* client = nullptr;  // null once it is closed
  Persistence persistence = Persistence::keep;
  bool is_head_request = false;
  InferRequestRef infer;  // while the dispatcher has it
  std::optional<WireResponse> answer;
  std::unique_ptr<ExchangeRecord> record;  // null: no log asks for it

  // Says to the record which request it is.
  void describe(const InferRequest& request) const;
  [[nodiscard]] Connection* connection() const noexcept override;
  void on_result(InferRequest& request) override;
};
using ExchangePtr = std::shared_ptr<Exchange>;

}  // namespace fasttrt::serving
