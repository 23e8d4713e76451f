// Traces of single requests: what became of them, when.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "serving/background_writer.hpp"
#include "serving/trace_file.hpp"
#include "serving/trace_sampling.hpp"

namespace fasttrt::serving {

// A request that is over, and its stages one after the other.
struct RequestTrace {
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Stage {
    std::string_view name;
    TimePoint end;
  };

  // A stage that ended before the one before it takes no time; one without a time is left out.
  void add(std::string_view name, TimePoint end) noexcept;

  std::string_view model;
  std::string_view version;
  std::string_view id;
  std::string_view client;
  int status = 0;
  TimePoint begin;
  std::array<Stage, 6> stages{};
  std::size_t stage_count = 0;
};

// The events of a trace, as TraceFile takes them. number: of the request, in this file.
[[nodiscard]] std::string to_events(const RequestTrace& trace, std::uint64_t number);

// Used by any number of threads, which never wait for the file.
class Tracer {
 public:
  // See TraceFile.
  explicit Tracer(const std::string& path);

  [[nodiscard]] TraceSampling& sampling() noexcept { return sampling_; }
  void write(const RequestTrace& trace) noexcept;
  // Waits until all is written; what comes later is dropped.
  void close() noexcept {
    writer_.close();
    const std::lock_guard lock(closing_);
    file_.close();
  }

 private:
  TraceFile file_;
  TraceSampling sampling_;
  std::atomic<std::uint64_t> requests_ = 0;
  std::mutex closing_;
  BackgroundWriter writer_;  // ends before the file is closed
};

}  // namespace fasttrt::serving
