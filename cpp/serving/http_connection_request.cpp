// What a connection does with a request that is complete.
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "serving/event_loop.hpp"
#include "serving/http_connection.hpp"
#include "serving/infer_response.hpp"

namespace fasttrt::serving {

Connection* Exchange::connection() const noexcept { return client; }

void Exchange::describe(const InferRequest& request) const {
  if (!record) return;
  record->set_subject(request.model().name(), request.model().version(), request.id());
  record->set_run(request);
}

void Exchange::on_result(InferRequest& request) {
  describe(request);
  HttpConnection::answer(*this, infer_response(request));
}

void HttpConnection::complete_request() {
  const auto& head = parser_.head();
  auto exchange = std::make_shared<Exchange>();
  exchange->client = this;
  exchange->is_head_request = head.method == "HEAD";
  if (!head.keeps_alive || loop_.server().is_draining) {
    exchange->persistence = Persistence::close;
  } else if (head.minor_version == 0) {
    exchange->persistence = Persistence::keep_old;
  }
  record(*exchange, parser_.size() + body_.size());
  responses_.push(exchange);
  if (model_ == nullptr || !submit(exchange)) hand_over(exchange);
  model_.reset();
  body_ = {};
  input_.consume(parser_.size() + buffered_);
  parser_.reset();
  has_begun_ = false;
  phase_ = exchange->persistence == Persistence::close ? Phase::ended : Phase::head;
}

// Returns false where the control plane is to answer.
bool HttpConnection::submit(const ExchangePtr& exchange) {
  const auto json_bytes = json_bytes_ == 0 ? body_.size() : json_bytes_;
  const auto request = InferRequest::make(model_, body_, json_bytes, loop_.infer_header(),
                                          loop_.server().options.shared_memory.get());
  if (!request) return false;
  request->waiter = exchange.get();
  request->channel = loop_.channel();
  exchange->infer = request;
  try {
    model_->dispatcher().submit(request, engine::Staging::lend);
    if (exchange->record) exchange->record->set_submitted();
    return true;
  } catch (const QueueFullError& error) {
    request->count_as_rejected();
    exchange->describe(*request);
    answer(*exchange, full_queue_response(error.what()));
    return true;
  } catch (const std::exception&) {  // the control plane finds out more
    exchange->infer.reset();
    body_ = request->take_body();
    return false;
  }
}

void HttpConnection::hand_over(const ExchangePtr& exchange) {
  const auto& head = parser_.head();
  auto request = std::make_unique<ControlRequest>();
  request->method = head.method;
  request->target = head.target;
  for (const auto& header : head.headers) request->headers.emplace_back(header.name, header.value);
  request->body = std::move(body_);
  request->peer = peer_;
  request->on_response = [mailbox = loop_.mailbox(), exchange](HttpResponse response) {
    const auto shared = std::make_shared<HttpResponse>(std::move(response));
    mailbox->post([exchange, shared] {
      auto* const connection = exchange->client;
      if (connection == nullptr) return;
      if (const auto& record = exchange->record) {
        const auto& [model, version, id] = shared->subject;
        record->set_subject(model, version, id);
      }
      HttpConnection::answer(*exchange, std::move(*shared));
      connection->advance();
    });
  };
  if (loop_.server().control.push(request)) return;
  request->on_response = nullptr;
  answer(*exchange, full_queue_response("the server has as many requests as it can work on"));
}

}  // namespace fasttrt::serving
