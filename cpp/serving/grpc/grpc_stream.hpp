// One call of gRPC: its messages in, their answers out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serving/control_queue.hpp"
#include "serving/exchange_record.hpp"
#include "serving/grpc/call_head.hpp"
#include "serving/grpc/message_reader.hpp"
#include "serving/grpc/outgoing_message.hpp"
#include "serving/grpc/output_queue.hpp"
#include "serving/grpc/status.hpp"
#include "serving/infer_request.hpp"
#include "serving/infer_waiter.hpp"

namespace fasttrt::serving::grpc {

class GrpcConnection;
class GrpcStream;

// A message of a call, until it is answered. The event loop's thread alone uses what it has; others
// only hold it.
struct GrpcExchange final : InferWaiter {
  GrpcStream* stream = nullptr;            // null once nobody waits for the answer
  InferRequestRef infer;                   // while the dispatcher has it
  std::unique_ptr<ExchangeRecord> record;  // null: no log asks for it

  [[nodiscard]] Connection* connection() const noexcept override;
  void on_result(InferRequest& request) override;
};
using GrpcExchangePtr = std::shared_ptr<GrpcExchange>;

class GrpcStream {
 public:
  using Clock = std::chrono::steady_clock;

  GrpcStream(GrpcConnection& connection, std::int32_t id);
  // Requests that have not begun to run are cancelled.
  ~GrpcStream() { forget_exchanges(); }
  GrpcStream(const GrpcStream&) = delete;
  GrpcStream& operator=(const GrpcStream&) = delete;

  [[nodiscard]] GrpcConnection& connection() const noexcept { return connection_; }

  // What comes in, see Http2Events.
  void on_header(std::string_view name, std::string_view value);
  void on_head();
  void on_data(std::string_view bytes);
  void on_end();

  // A message's answer: results or an error.
  void answer(GrpcExchange& exchange, InferRequest& request);
  void answer(GrpcExchange& exchange, const HttpResponse& response);

  // What goes out.
  [[nodiscard]] std::size_t pending_bytes() const noexcept { return pending_bytes_; }
  [[nodiscard]] bool is_finished() const noexcept { return is_finished_; }
  void add_trailers();
  void move_to(OutputQueue& output, std::size_t bytes);

  [[nodiscard]] Clock::time_point deadline() const noexcept;
  void on_deadline();
  // Ends a call that would go on without messages.
  void drain();

 private:
  [[nodiscard]] bool is_streaming() const noexcept {
    return head_.method == CallHead::Method::stream_infer;
  }
  [[nodiscard]] bool is_paused() const noexcept;
  [[nodiscard]] bool is_receiving() const noexcept;

  // grpc_stream_input.cpp
  void read_messages(std::string_view bytes);
  void take(ReceivedMessage message);
  void dispatch(ReceivedMessage message);
  [[nodiscard]] bool submit(const GrpcExchangePtr& exchange, RequestBody& body);
  void hand_over(const GrpcExchangePtr& exchange, ReceivedMessage message);

  // grpc_stream.cpp
  GrpcExchangePtr remove(const GrpcExchange& exchange);
  void forget_exchanges() noexcept;
  [[nodiscard]] std::unique_ptr<ExchangeRecord> make_record(std::string_view message) const;
  void log_failure(int code);
  void fail(const GrpcExchange& exchange, Status status);
  void push(OutgoingMessagePtr message);
  void finish(Status status);
  void refuse_http(std::string_view status);
  void go_on();

  GrpcConnection& connection_;
  const std::int32_t id_;
  CallHead head_;
  bool has_begun_ = false;      // all of its headers are here
  bool has_ended_ = false;      // the client sends no more
  Clock::time_point begun_at_;  // the message that is being received, or the call
  Clock::time_point deadline_;  // the client's

  MessageReader reader_;
  std::vector<ReceivedMessage> message_;  // of a unary call: none or one
  std::string held_;                      // bytes that came while too many requests run
  std::vector<GrpcExchangePtr> running_;
  bool is_logged_ = false;  // something of the call is, or will be

  bool has_headers_ = false;  // sent, or to be sent
  bool is_finished_ = false;  // nothing follows but what is pending, and the status
  Status status_;
  std::deque<OutgoingMessagePtr> pending_;
  std::size_t pending_bytes_ = 0;
  std::size_t moved_ = 0;          // of the first one
  Clock::time_point progress_at_;  // bytes went out
};

}  // namespace fasttrt::serving::grpc
