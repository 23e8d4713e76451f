#include "serving/access_log.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <new>
#include <utility>

#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

using std::chrono::system_clock;

constexpr std::string_view beginning = R"({"time":")";

// As in 2026-01-31T23:59:59.123456Z.
std::string to_text(system_clock::time_point time) {
  using std::chrono::microseconds;
  const auto since = std::chrono::floor<microseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto fraction = static_cast<int>((since - seconds).count());
  const auto whole = static_cast<std::time_t>(seconds.count());
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  std::array<char, 80> text{};
  const int size = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
                                 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                                 parts.tm_hour, parts.tm_min, parts.tm_sec, fraction);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}

void add(std::string& json, std::string_view key, std::string_view text) {
  json.append(",\"").append(key).append("\":");
  json += text.empty() ? "null" : json_string(text);
}

void add(std::string& json, std::string_view key, std::uint64_t number) {
  json.append(",\"").append(key).append("\":").append(std::to_string(number));
}

}  // namespace

std::string to_json(const AccessEntry& entry) {
  std::string json(beginning);
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
    : file_(std::move(path), beginning),
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
    std::string json(beginning);
    json.append(to_text(system_clock::now())).append("\"");
    add(json, "dropped", lost_);
    if (file_.append(json + "}\n")) lost_ = 0;
  }
  if (!file_.append(lines)) lost_ += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
}

}  // namespace fasttrt::serving
