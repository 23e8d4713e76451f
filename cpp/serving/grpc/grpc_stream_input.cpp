// How a call reads messages, and what it does with them.
#include <algorithm>
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "serving/event_loop.hpp"
#include "serving/grpc/grpc_connection.hpp"
#include "serving/grpc/grpc_stream.hpp"

namespace fasttrt::serving::grpc {
namespace {

// Requests of one stream that are worked on at once. Of further ones as much is held as the
// stream's window lets the client send.
constexpr std::size_t max_running = 64;

}  // namespace

bool GrpcStream::is_paused() const noexcept { return running_.size() >= max_running; }

void GrpcStream::on_header(std::string_view name, std::string_view value) {
  // Beyond the limit they are counted, and refused by on_head().
  const auto most = connection_.loop().server().options.max_header_bytes;
  if (!has_begun_ && head_.bytes <= most) head_.add(name, value);
}

void GrpcStream::on_head() {
  if (std::exchange(has_begun_, true)) return;  // these came behind the messages
  const auto& options = connection_.loop().server().options;
  begun_at_ = connection_.loop().now();
  if (head_.bytes > options.max_header_bytes) {
    return finish({Code::resource_exhausted, "the headers are larger than this server takes"});
  }
  if (!head_.is_post) return refuse_http("405");
  if (!head_.is_grpc) return refuse_http("415");
  if (!head_.is_timeout_valid) {
    return finish({Code::internal, "grpc-timeout: expected up to 8 digits and a unit"});
  }
  if (head_.timeout) deadline_ = begun_at_ + *head_.timeout;
}

void GrpcStream::on_data(std::string_view bytes) {
  if (is_finished_) return connection_.session().consume(id_, bytes.size());
  if (!held_.empty()) {
    held_ += bytes;
  } else {
    read_messages(bytes);
  }
}

// Bytes are consumed as they are read, so that a client that is not read from has to wait.
void GrpcStream::read_messages(std::string_view bytes) {
  const auto size = bytes.size();
  while (!bytes.empty() && !is_finished_ && !is_paused()) {
    if (!reader_.is_within()) begun_at_ = connection_.loop().now();
    switch (reader_.read(bytes, connection_.memory())) {
      case MessageReader::Result::incomplete: break;
      case MessageReader::Result::complete: take(reader_.take()); break;
      case MessageReader::Result::refused: finish(reader_.error()); break;
    }
  }
  if (is_finished_) bytes = {};
  held_.assign(bytes);
  connection_.session().consume(id_, size - bytes.size());
}

void GrpcStream::take(ReceivedMessage message) {
  if (is_streaming()) return dispatch(std::move(message));
  if (!message_.empty()) {
    return finish({Code::unimplemented, "expected one message of this method, got several"});
  }
  message_.push_back(std::move(message));
}

void GrpcStream::on_end() {
  if (std::exchange(has_ended_, true) || is_finished_) return;
  if (reader_.is_within() && held_.empty()) {
    return finish({Code::internal, "the call ended within a message"});
  }
  if (is_streaming()) return go_on();
  if (message_.empty()) {
    return finish({Code::unimplemented, "expected one message of this method, got none"});
  }
  auto message = std::move(message_.front());
  message_.clear();
  dispatch(std::move(message));
}

void GrpcStream::dispatch(ReceivedMessage message) {
  auto exchange = std::make_shared<GrpcExchange>();
  exchange->stream = this;
  exchange->record = make_record(message.is_compressed ? "" : message.body.bytes());
  is_logged_ = true;
  running_.push_back(exchange);
  const bool is_infer = head_.method != CallHead::Method::other;
  const auto& keys = connection_.loop().server().keys;
  const bool may_submit =
      is_infer && !message.is_compressed && keys.admit(head_.authorization, head_.api_key);
  if (!may_submit || !submit(exchange, message.body)) hand_over(exchange, std::move(message));
}

// Returns false where the control plane is to answer.
bool GrpcStream::submit(const GrpcExchangePtr& exchange, RequestBody& body) {
  auto& loop = connection_.loop();
  auto& message = connection_.scratch();
  const auto bytes = body.bytes();
  if (!read_infer_message(bytes, message)) return false;
  const auto model = loop.server().models.find(message.model, message.version);
  if (model == nullptr) return false;
  const auto& inputs = message.header.inputs;
  const bool has_data = !inputs.empty() && !inputs.front().data.empty();
  const auto offset = has_data ? inputs.front().data.data() - bytes.data() : 0;
  const auto* const shared_memory = loop.server().options.shared_memory.get();
  const auto request = InferRequest::make(model, body, message.header, shared_memory);
  if (!request) return false;
  auto& dispatcher = model->dispatcher();
  auto& memory = connection_.memory();
  memory.align_at = static_cast<std::size_t>(offset);
  memory.pool = dispatcher.is_batching() ? nullptr : dispatcher.tensors().pool;
  request->waiter = exchange.get();
  request->channel = loop.channel();
  if (head_.timeout) request->deadline = std::min(request->deadline.value_or(deadline_), deadline_);
  exchange->infer = request;
  try {
    dispatcher.submit(request, engine::Staging::lend);
    if (exchange->record) exchange->record->set_submitted();
    return true;
  } catch (const QueueFullError& error) {
    request->count_as_rejected();
    fail(*exchange, {Code::unavailable, error.what()});
    return true;
  } catch (const std::exception&) {  // the control plane finds out more
    exchange->infer.reset();
    body = request->take_body();
    return false;
  }
}

void GrpcStream::hand_over(const GrpcExchangePtr& exchange, ReceivedMessage message) {
  auto request = std::make_unique<ControlRequest>();
  request->is_grpc = true;
  request->method = "POST";
  request->target = head_.path;
  request->headers = head_.headers();
  if (message.is_compressed) request->headers.emplace_back("grpc-encoding", head_.encoding);
  request->body = std::move(message.body);
  request->peer = connection_.peer();
  request->on_response = [mailbox = connection_.loop().mailbox(), exchange](HttpResponse response) {
    const auto shared = std::make_shared<HttpResponse>(std::move(response));
    mailbox->post([exchange, shared] {
      auto* const stream = exchange->stream;
      if (stream == nullptr) return;
      auto& connection = stream->connection();
      stream->answer(*exchange, *shared);
      connection.advance_or_close();
    });
  };
  if (connection_.loop().server().control.push(request)) return;
  request->on_response = nullptr;
  fail(*exchange, {Code::unavailable, "the server has as many requests as it can work on"});
}

}  // namespace fasttrt::serving::grpc
