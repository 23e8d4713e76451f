#include "serving/grpc/grpc_stream.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "serving/event_loop.hpp"
#include "serving/grpc/grpc_connection.hpp"
#include "serving/grpc/infer_answer.hpp"

namespace fasttrt::serving::grpc {
namespace {

constexpr HeaderField content_type{"content-type", "application/grpc"};
constexpr HeaderField is_ok{":status", "200"};

Code code_of(InferFailure::Kind kind) noexcept {
  switch (kind) {
    case InferFailure::Kind::unavailable: return Code::unavailable;
    case InferFailure::Kind::invalid: return Code::invalid_argument;
    case InferFailure::Kind::internal: break;
  }
  return Code::internal;
}

}  // namespace

Connection* GrpcExchange::connection() const noexcept { return &stream->connection(); }

void GrpcExchange::on_result(InferRequest& request) { stream->answer(*this, request); }

GrpcStream::GrpcStream(GrpcConnection& connection, std::int32_t id)
    : connection_(connection),
      id_(id),
      begun_at_(connection.loop().now()),
      deadline_(Clock::time_point::max()),
      reader_(connection.loop().server().options.max_message_bytes),
      progress_at_(begun_at_) {}

GrpcExchangePtr GrpcStream::remove(const GrpcExchange& exchange) {
  const auto found = std::ranges::find(running_, &exchange, &GrpcExchangePtr::get);
  if (found == running_.end()) return nullptr;
  std::swap(*found, running_.back());
  auto removed = std::move(running_.back());
  running_.pop_back();
  removed->stream = nullptr;
  removed->infer.reset();
  return removed;
}

void GrpcStream::forget_exchanges() noexcept {
  for (const auto& exchange : running_) {
    exchange->stream = nullptr;
    if (exchange->record) exchange->record->abandon();
    const auto request = std::exchange(exchange->infer, {});
    if (!request) continue;
    request->waiter = nullptr;
    std::ignore = request->model().dispatcher().cancel(*request);
  }
  running_.clear();
}

std::unique_ptr<ExchangeRecord> GrpcStream::make_record(std::string_view message) const {
  const auto& options = connection_.loop().server().options;
  RequestLogs logs{options.access_log.get(), nullptr};
  if (options.tracer != nullptr && head_.method != CallHead::Method::other) {
    const auto model = read_model_name(message);
    if (!model.empty() && options.tracer->sampling().wants(model))
      logs.tracer = options.tracer.get();
  }
  if (logs.access == nullptr && logs.tracer == nullptr) return nullptr;
  RequestHead head;
  head.method = "POST";
  head.target = head_.path;
  return std::make_unique<ExchangeRecord>(logs, head, connection_.peer(), begun_at_,
                                          message.size());
}

// Of a call that ends with it.
void GrpcStream::log_failure(int code) {
  const auto log = [code](ExchangeRecord& record) {
    record.set_answer(code, 0);
    record.finish();
  };
  for (const auto& exchange : running_) {
    if (const auto record = std::move(exchange->record)) log(*record);
  }
  if (is_logged_ || code == 0) return;
  if (const auto record = make_record({})) log(*record);
}

void GrpcStream::answer(GrpcExchange& exchange, InferRequest& request) {
  const auto held = remove(exchange);
  int code = 0;
  std::size_t bytes = 0;
  if (auto failure = request.conclude()) {
    const bool is_late = connection_.loop().now() >= deadline_;
    Status status(is_late ? Code::deadline_exceeded : code_of(failure->kind),
                  std::move(failure->text));
    code = status.code;
    if (!is_streaming() || head_.wants_status) {
      finish(std::move(status));
    } else {
      push(write_failure(request, status.text));
    }
  } else {
    auto message = write_results(request, is_streaming() ? AnswerKind::stream : AnswerKind::unary);
    bytes = message->size;
    push(std::move(message));
  }
  if (held->record) {
    const auto& model = request.model();
    held->record->set_subject(model.name(), model.version(), request.id());
    held->record->set_run(request);
    held->record->set_answer(code, bytes);
    held->record->finish();
  }
  go_on();
}

void GrpcStream::answer(GrpcExchange& exchange, const HttpResponse& response) {
  const auto held = remove(exchange);
  if (held->record) {
    const auto& [model, version, id] = response.subject;
    held->record->set_subject(model, version, id);
    held->record->set_answer(response.status, response.body.size());
    held->record->finish();
  }
  if (response.status == static_cast<int>(Code::ok)) {
    push(framed(response.body));
  } else {
    finish({response.status, response.body});
  }
  go_on();
}

void GrpcStream::fail(const GrpcExchange& exchange, Status status) {
  const auto held = remove(exchange);
  if (held->record) {
    held->record->set_answer(status.code, 0);
    held->record->finish();
  }
  if (is_streaming() && !head_.wants_status) {
    push(write_failure(status.text));
  } else {
    finish(std::move(status));
  }
}

// After an answer: takes what was held back, and ends the call with the last one.
void GrpcStream::go_on() {
  if (!held_.empty() && !is_finished_) read_messages(std::exchange(held_, {}));
  if (is_finished_ || !running_.empty()) return;
  if (has_ended_ && reader_.is_within()) {
    return finish({Code::internal, "the call ended within a message"});
  }
  if (has_ended_ || !is_streaming()) return finish({});
  if (connection_.loop().server().is_draining) drain();
}

void GrpcStream::push(OutgoingMessagePtr message) {
  pending_bytes_ += message->size;
  pending_.push_back(std::move(message));
  progress_at_ = connection_.loop().now();
  if (std::exchange(has_headers_, true)) return connection_.session().resume(id_);
  connection_.session().respond(id_, std::array{is_ok, content_type}, true);
}

void GrpcStream::finish(Status status) {
  if (std::exchange(is_finished_, true)) return;
  log_failure(status.code);
  forget_exchanges();
  held_.clear();
  message_.clear();
  begun_at_ = connection_.loop().now();
  status_ = std::move(status);
  if (has_headers_) return connection_.session().resume(id_);
  has_headers_ = true;
  const auto code = std::to_string(status_.code);
  const auto text = percent_encoded(status_.text);
  const std::array headers{is_ok, content_type, HeaderField{"grpc-status", code},
                           HeaderField{"grpc-message", text}};
  connection_.session().respond(id_, std::span(headers).first(text.empty() ? 3 : 4), false);
}

void GrpcStream::refuse_http(std::string_view status) {
  is_finished_ = has_headers_ = true;
  connection_.session().respond(id_, std::array{HeaderField{":status", status}}, false);
}

void GrpcStream::add_trailers() {
  const auto code = std::to_string(status_.code);
  const auto text = percent_encoded(status_.text);
  const std::array trailers{HeaderField{"grpc-status", code}, HeaderField{"grpc-message", text}};
  connection_.session().add_trailers(id_, std::span(trailers).first(text.empty() ? 1 : 2));
}

void GrpcStream::move_to(OutputQueue& output, std::size_t bytes) {
  progress_at_ = connection_.loop().now();
  pending_bytes_ -= bytes;
  while (bytes > 0) {
    const auto& message = pending_.front();
    auto skipped = moved_;
    for (auto piece : message->pieces) {
      const auto done = std::min(skipped, piece.size());
      skipped -= done;
      piece.remove_prefix(done);
      piece = piece.substr(0, bytes);
      if (piece.empty()) continue;
      output.append(piece, message);
      bytes -= piece.size();
      moved_ += piece.size();
    }
    if (moved_ < message->size) return;
    moved_ = 0;
    pending_.pop_front();
  }
}

bool GrpcStream::is_receiving() const noexcept {
  if (is_finished_ || has_ended_) return false;
  return is_streaming() ? reader_.is_within() && !is_paused() : true;
}

GrpcStream::Clock::time_point GrpcStream::deadline() const noexcept {
  const auto& options = connection_.loop().server().options;
  if (pending_bytes_ > 0) {
    const auto stuck = progress_at_ + options.idle_timeout;
    return is_finished_ ? stuck : std::min(stuck, deadline_);
  }
  if (is_finished_) return begun_at_ + linger_time;
  return is_receiving() ? std::min(deadline_, begun_at_ + options.body_timeout) : deadline_;
}

void GrpcStream::on_deadline() {
  const auto now = connection_.loop().now();
  if (now >= deadline_ && !is_finished_) {
    return finish({Code::deadline_exceeded, "the call's deadline has passed"});
  }
  if (is_finished_ || pending_bytes_ > 0) {
    begun_at_ = progress_at_ = now;
    return connection_.session().reset(id_, is_finished_ ? error_none : error_cancel);
  }
  finish({Code::deadline_exceeded, "the message did not come in time"});
}

void GrpcStream::drain() {
  if (!is_streaming() || !running_.empty() || reader_.is_within() || !held_.empty()) return;
  finish({Code::unavailable, "the server is being closed"});
}

}  // namespace fasttrt::serving::grpc
