#include "serving/exchange_record.hpp"

#include <algorithm>

namespace fasttrt::serving {
namespace {

constexpr int client_has_gone = 499;  // a status that no server sends
constexpr std::size_t max_id_bytes = 256;

// As much of a text as a line should have, without the half of a character.
std::string_view shortened(std::string_view text) noexcept {
  if (text.size() <= max_id_bytes) return text;
  auto size = max_id_bytes;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  return text.substr(0, size);
}

}  // namespace

ExchangeRecord::ExchangeRecord(RequestLogs logs, const RequestHead& head, std::string_view client,
                               Clock::time_point begun_at, std::size_t bytes)
    : logs_(logs),
      begun_at_(begun_at),
      received_at_(Clock::now()),
      client_(client),
      method_(head.method),
      path_(head.target.substr(0, head.target.find('?'))),  // a query may have secrets
      bytes_in_(bytes) {}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in a target
void ExchangeRecord::set_subject(std::string_view model, std::string_view version,
                                 std::string_view id) {
  model_ = shortened(model);
  version_ = version;
  id_ = shortened(id);
}

void ExchangeRecord::set_submitted() noexcept {
  if (logs_.tracer != nullptr) submitted_at_ = Clock::now();
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): small, and large
void ExchangeRecord::set_answer(int status, std::size_t bytes) noexcept {
  status_ = status;
  bytes_out_ = bytes;
  if (logs_.tracer != nullptr) answered_at_ = Clock::now();
}

void ExchangeRecord::abandon() const noexcept { write(client_has_gone, 0); }

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): small, and large
void ExchangeRecord::write(int status, std::size_t bytes_out) const noexcept {
  using std::chrono::microseconds;
  const auto now = Clock::now();
  if (logs_.tracer != nullptr) trace(status, now);
  if (logs_.access == nullptr) return;
  const auto duration = std::chrono::duration_cast<microseconds>(now - begun_at_);
  logs_.access->write({std::chrono::system_clock::now() - duration, client_, method_, path_, model_,
                       version_, status, bytes_in_, bytes_out, duration, id_});
}

void ExchangeRecord::trace(int status, Clock::time_point now) const noexcept {
  RequestTrace trace;
  trace.model = model_.empty() ? std::string_view(path_) : model_;
  trace.version = version_;
  trace.id = id_;
  trace.client = client_;
  trace.status = status;
  trace.begin = begun_at_;
  trace.add("receive", received_at_);
  if (run_.begun != Clock::time_point()) {
    // Rows of a batch may still be brought to it when others are, but not when it runs.
    trace.add("staging", std::min(submitted_at_, run_.begun));
    trace.add("queue", run_.begun);
    trace.add("compute", run_.ended);
    trace.add("copy-out", answered_at_);
  } else {
    trace.add("control plane", answered_at_);
  }
  trace.add("send", now);
  logs_.tracer->write(trace);
}

}  // namespace fasttrt::serving
