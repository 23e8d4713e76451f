// The one logger of the process. It is never destroyed: a vendor library may log from threads of
// its own at any time, and the RTX parser was seen to crash after its first logger went away.
//
// Vendor threads only append to a queue here; whoever owns an interpreter takes the records from
// it. So no vendor thread ever waits for the GIL.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nvinfer/enums.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

struct LogRecord {
  Severity severity = Severity::info;
  std::string text;
};

class Logger {
 public:
  [[nodiscard]] static Logger& instance() noexcept;

  // The object to hand to a library of this generation as its ILogger.
  [[nodiscard]] void* vendor_interface(Generation generation) noexcept;

  // Records less severe than this are not queued (errors are always kept for ErrorScope).
  void set_threshold(Severity least) noexcept;

  // Takes what has been queued since the last call. The queue is bounded; when records had to be
  // dropped, the last one says how many.
  [[nodiscard]] std::vector<LogRecord> take();
  // Whether take() would return anything; cheap.
  [[nodiscard]] bool pending() const noexcept;

  void log(Severity severity, const char* text) noexcept;

  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

 private:
  Logger();
  ~Logger() = default;
  friend class ErrorScope;
  struct State;
  State* state_;  // never freed, see above
};

// Collects the error lines that belong to the calls made while it is alive: those of this thread
// or, if there are none, those of the library's own worker threads.
class ErrorScope {
 public:
  ErrorScope() noexcept;
  ~ErrorScope();
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;

  [[nodiscard]] std::string text() const;
  // what + ": " + text(), or what alone where nothing was logged.
  [[nodiscard]] std::string explain(const std::string& what) const;

 private:
  std::uint64_t start_ = 0;
  bool is_known_ = false;  // to the logger; where memory is short it is not
};

}  // namespace fasttrt::nvinfer
