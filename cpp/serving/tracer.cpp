#include "serving/tracer.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <tuple>

#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

// In microseconds, since the machine started.
std::string to_text(RequestTrace::TimePoint time) {
  using std::chrono::nanoseconds;
  const auto ns = std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
  const auto fraction = std::to_string(1000 + ns % 1000);  // with the leading zeros
  return std::to_string(ns / 1000) + '.' + fraction.substr(1);
}

// The begin or the end of a request or of a stage. Requests overlap, so their events are those
// that the format calls asynchronous, with an id in common.
class Event {
 public:
  explicit Event(std::uint64_t number)
      : common_(R"(,"cat":"infer","pid":)" + std::to_string(::getpid()) + R"(,"tid":0,"id":")" +
                std::to_string(number) + R"(","ph":")") {}

  [[nodiscard]] std::string operator()(std::string_view name, char phase,
                                       RequestTrace::TimePoint time,
                                       std::string_view rest = {}) const {
    auto json = R"({"name":)" + json_string(name) + common_;
    json.append(1, phase).append(R"(","ts":)").append(to_text(time)).append(rest).append("}");
    return ",\n" + json;
  }

 private:
  const std::string common_;
};

}  // namespace

void RequestTrace::add(std::string_view name, TimePoint end) noexcept {
  if (end == TimePoint() || stage_count == stages.size()) return;
  const auto begun = stage_count == 0 ? begin : stages.at(stage_count - 1).end;
  stages.at(stage_count++) = {name, std::max(begun, end)};
}

std::string to_events(const RequestTrace& trace, std::uint64_t number) {
  const Event event(number);
  std::string args = R"(,"args":{"version":)" + json_string(trace.version);
  args += R"(,"client":)" + json_string(trace.client);
  if (!trace.id.empty()) args += R"(,"request_id":)" + json_string(trace.id);
  args += R"(,"status":)" + std::to_string(trace.status) + '}';
  auto json = event(trace.model, 'b', trace.begin, args);
  auto time = trace.begin;
  for (std::size_t i = 0; i < trace.stage_count; ++i) {
    const auto& [name, end] = trace.stages.at(i);
    json += event(name, 'b', time) + event(name, 'e', end);
    time = end;
  }
  return json + event(trace.model, 'e', time);
}

Tracer::Tracer(const std::string& path)
    : file_(path), writer_([this](std::string_view events, std::uint64_t /*dropped*/) {
        std::ignore = file_.append(events);
      }) {}

void Tracer::write(const RequestTrace& trace) noexcept {
  try {
    writer_.write(to_events(trace, ++requests_));
  } catch (const std::bad_alloc&) {
    return;  // a trace is not worth more
  }
}

}  // namespace fasttrt::serving
