// A line of JSON for each request that was answered.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "serving/background_writer.hpp"
#include "serving/log_file.hpp"

namespace fasttrt::serving {

// What a line says; empty text is null in it.
struct AccessEntry {
  std::chrono::system_clock::time_point time;  // when the request began
  std::string_view client;
  std::string_view method;
  std::string_view path;
  std::string_view model;
  std::string_view version;
  int status = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::chrono::microseconds duration{};
  std::string_view id;
};

[[nodiscard]] std::string to_json(const AccessEntry& entry);

// Used by any number of threads, which never wait for the file: it is written soon after. Where
// that is too slow, lines are dropped, and one says how many.
class AccessLog {
 public:
  // See LogFile.
  explicit AccessLog(std::string path);

  void write(const AccessEntry& entry) noexcept;
  // Waits until all is written; what comes later is dropped.
  void close() noexcept { writer_.close(); }

 private:
  void append(std::string_view lines, std::uint64_t dropped);

  LogFile file_;
  std::uint64_t lost_ = 0;
  BackgroundWriter writer_;  // ends before the file is closed
};

}  // namespace fasttrt::serving
