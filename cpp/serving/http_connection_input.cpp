// How a connection reads requests.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/error.hpp"
#include "serving/event_loop.hpp"
#include "serving/http_connection.hpp"

namespace fasttrt::serving {
namespace {

// Of a large body at once, so that other clients have their turn.
constexpr std::size_t max_received = std::size_t{1} << 20;
constexpr std::size_t min_chunked_room = std::size_t{16} << 10;

constexpr std::string_view json_length = "inference-header-content-length";

constexpr HttpError body_too_large{413, "the body is larger than this server takes"};
constexpr HttpError no_memory{503, "the server has no memory for the body at the moment"};

// Whether a client that names encodings wants one of them: a single one is asked for, a list is
// what HTTP libraries send for all requests.
bool wants_encoding(std::string_view accepted) {
  return equals_ignoring_case(accepted, "gzip") || equals_ignoring_case(accepted, "deflate");
}

}  // namespace

void HttpConnection::receive() {
  if (phase_ == Phase::body) return receive_body();
  const auto room = phase_ == Phase::lingering ? loop_.scratch() : input_.room();
  const auto count = ::recv(socket_.get(), room.data(), room.size(), 0);
  if (count > 0) {
    if (phase_ == Phase::head) input_.commit(static_cast<std::size_t>(count));
  } else if (count == 0) {
    on_end_of_input();
  } else if (errno != EAGAIN && errno != EINTR) {
    close();
  }
}

void HttpConnection::receive_body() {
  const auto room = is_chunked() ? loop_.scratch() : body_.room();
  const auto wanted = std::min(room.size(), max_received);
  const auto count = ::recv(socket_.get(), room.data(), wanted, 0);
  if (count == 0) return on_end_of_input();
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) close();
    return;
  }
  const auto size = static_cast<std::size_t>(count);
  if (!is_chunked()) {
    body_.commit(size);
    if (body_.room().empty()) complete_request();
    return;
  }
  const std::string_view bytes(room.data(), size);
  const auto taken = decode(bytes);
  if (!taken || !chunks_.is_complete()) return;
  complete_request();
  input_.append(bytes.substr(*taken));
}

void HttpConnection::on_end_of_input() {
  has_ended_ = true;
  begun_at_ = loop_.now();
  if (phase_ == Phase::lingering || responses_.empty()) return close();
  phase_ = Phase::ended;
  body_ = {};
}

void HttpConnection::take_requests() {
  for (;;) {
    if (phase_ == Phase::head && (is_paused() || !take_head())) return;
    if (phase_ != Phase::body || !take_buffered_body()) return;
    complete_request();
  }
}

// Whether the head is here, and its body is to be read.
bool HttpConnection::take_head() {
  if (input_.empty()) return false;
  if (!std::exchange(has_begun_, true)) begun_at_ = first_byte_at_ = loop_.now();
  switch (parser_.parse(input_.bytes())) {
    case HttpParser::Result::incomplete: return false;
    case HttpParser::Result::refused: refuse_at_once(parser_.error()); return false;
    case HttpParser::Result::complete: return begin_body();
  }
  return false;
}

bool HttpConnection::begin_body() {
  const auto& head = parser_.head();
  const auto size = head.content_length.value_or(0);
  if (size > loop_.server().options.max_body_bytes) {
    refuse_at_once(body_too_large);
    return false;
  }
  find_plain_model();
  auto pool = model_ != nullptr && !model_->dispatcher().is_batching()
                  ? model_->dispatcher().tensors().pool
                  : nullptr;
  body_ = RequestBody(loop_.server().budget, std::move(pool), json_bytes_);
  chunks_ = {};
  buffered_ = 0;
  try {
    if (!body_.reserve(static_cast<std::size_t>(size))) {
      refuse_at_once(no_memory);
      return false;
    }
  } catch (const OutOfMemoryError&) {
    refuse_at_once(no_memory);
    return false;
  }
  const bool has_body = head.is_chunked || size > 0;
  if (head.expects_continue && has_body && input_.bytes().size() == parser_.size()) {
    auto exchange = std::make_shared<Exchange>();
    exchange->client = this;
    exchange->answer.emplace().text = "HTTP/1.1 100 Continue\r\n\r\n";
    responses_.push(std::move(exchange));
  }
  phase_ = Phase::body;
  begun_at_ = loop_.now();
  return true;
}

void HttpConnection::find_plain_model() {
  model_.reset();
  json_bytes_ = 0;
  const auto& head = parser_.head();
  if (head.method != "POST") return;
  const auto& options = loop_.server().options;
  std::uint64_t json_bytes = 0;  // all of the body
  if (head.find(json_length) != nullptr) {
    const auto given = to_number(head.only(json_length));
    if (!given || *given == 0 || *given > options.max_body_bytes) return;
    json_bytes = *given;
  } else if (options.shared_memory == nullptr) {
    return;  // nothing but JSON is plain only where the tensors are elsewhere
  }
  if (head.find("content-encoding") != nullptr || wants_encoding(head.only("accept-encoding")))
    return;
  if (!loop_.server().keys.admit(head)) return;
  model_ = loop_.server().models.find_for_infer(head.target);
  json_bytes_ = static_cast<std::size_t>(json_bytes);
}

// Whether the body is complete.
bool HttpConnection::take_buffered_body() {
  const auto rest = input_.bytes().substr(parser_.size() + buffered_);
  if (is_chunked()) {
    const auto taken = decode(rest);
    if (!taken) return false;
    buffered_ += *taken;
    return chunks_.is_complete();
  }
  const auto room = body_.room();
  const auto size = std::min(rest.size(), room.size());
  if (size > 0) std::memcpy(room.data(), rest.data(), size);
  body_.commit(size);
  buffered_ += size;
  return size == room.size();
}

// Returns how many of the bytes are the body's; none if it was refused.
std::optional<std::size_t> HttpConnection::decode(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && !chunks_.is_complete()) {
    const auto step = chunks_.next(bytes.substr(taken));
    taken += step.taken;
    if (chunks_.is_refused()) {
      refuse_at_once(chunks_.error());
      return std::nullopt;
    }
    if (!append_to_body(step.piece)) return std::nullopt;
  }
  return taken;
}

bool HttpConnection::append_to_body(std::string_view piece) {
  if (piece.empty()) return true;
  const auto needed = body_.size() + piece.size();
  const auto most = loop_.server().options.max_body_bytes;
  if (needed > most) {
    refuse_at_once(body_too_large);
    return false;
  }
  try {
    if (body_.room().size() < piece.size() &&
        !body_.reserve(std::min(std::max({needed, 2 * body_.size(), min_chunked_room}), most))) {
      refuse_at_once(no_memory);
      return false;
    }
  } catch (const OutOfMemoryError&) {
    refuse_at_once(no_memory);
    return false;
  }
  std::memcpy(body_.room().data(), piece.data(), piece.size());
  body_.commit(piece.size());
  return true;
}

}  // namespace fasttrt::serving
