#include "serving/access_log.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

using std::chrono::system_clock;

constexpr std::string_view line_beginning = R"({"time":")";

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): the second is a literal
std::string padded(std::int64_t number, std::size_t digits) {
  const auto text = std::to_string(number);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

// As in 2026-01-31T23:59:59.123456Z.
std::string to_text(system_clock::time_point time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::microseconds>(time - day));
  return padded(static_cast<int>(date.year()), 4) + '-' +
         padded(static_cast<unsigned>(date.month()), 2) + '-' +
         padded(static_cast<unsigned>(date.day()), 2) + 'T' + padded(clock.hours().count(), 2) +
         ':' + padded(clock.minutes().count(), 2) + ':' + padded(clock.seconds().count(), 2) + '.' +
         padded(clock.subseconds().count(), 6) + 'Z';
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as they are written
void add(std::string& json, std::string_view key, std::string_view text) {
  json.append(",\"").append(key).append("\":");
  json += text.empty() ? "null" : json_string(text);
}

void add(std::string& json, std::string_view key, std::uint64_t number) {
  json.append(",\"").append(key).append("\":").append(std::to_string(number));
}

}  // namespace

std::string to_json(const AccessEntry& entry) {
  std::string json(line_beginning);
  json.append(to_text(entry.time)).append("\"");
  add(json, "client", entry.client);
  add(json, "method", entry.method);
  add(json, "path", entry.path);
  add(json, "model", entry.model);
  add(json, "version", entry.version);
  add(json, "status", static_cast<std::uint64_t>(entry.status));
  add(json, "bytes_in", entry.bytes_in);
  add(json, "bytes_out", entry.bytes_out);
  add(json, "duration_us",
      static_cast<std::uint64_t>(std::max<std::int64_t>(entry.duration.count(), 0)));
  add(json, "id", entry.id);
  return json += '}';
}

AccessLog::AccessLog(std::string path)
    : file_(std::move(path), line_beginning),
      writer_([this](std::string_view lines, std::uint64_t dropped) { append(lines, dropped); }) {}

void AccessLog::write(const AccessEntry& entry) noexcept {
  try {
    writer_.write(to_json(entry) + '\n');
  } catch (const std::bad_alloc&) {
    return;  // a line is not worth more
  }
}

void AccessLog::append(std::string_view lines, std::uint64_t dropped) {
  lost_ += dropped;
  if (lost_ > 0) {
    std::string json(line_beginning);
    json.append(to_text(system_clock::now())).append("\"");
    add(json, "dropped", lost_);
    if (file_.append(json + "}\n")) lost_ = 0;
  }
  if (!file_.append(lines)) lost_ += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
}

}  // namespace fasttrt::serving
