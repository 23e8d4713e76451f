#include "nvinfer/logger.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "nvinfer/callbacks.hpp"

namespace fasttrt::nvinfer {
namespace {

constexpr std::size_t queue_limit = 10000;
constexpr std::size_t error_limit = 256;

template <class Interface>
class VendorLogger final : public Interface {
 public:
  void log(std::int32_t severity, const char* text) noexcept override {
    Logger::instance().log(static_cast<Severity>(severity), text);
  }
};

struct ErrorLine {
  std::uint64_t sequence;
  std::thread::id thread;
  bool in_scope;  // logged while its thread had an ErrorScope open
  std::string text;
};

}  // namespace

struct Logger::State {
  VendorLogger<abi::LoggerV8> v8;
  VendorLogger<abi::LoggerV11> v11;
  std::atomic<Severity> threshold{Severity::warning};
  std::mutex mutex;
  std::deque<LogRecord> queue;
  std::atomic<bool> pending = false;
  std::size_t dropped = 0;
  std::deque<ErrorLine> errors;
  std::uint64_t sequence = 0;
  std::multiset<std::thread::id> scopes;  // threads that have an ErrorScope open
};

Logger::Logger() : state_(new State) {}

Logger& Logger::instance() noexcept {
  static auto* const logger = new Logger;  // NOLINT(bugprone-unhandled-exception-at-new)
  return *logger;
}

void* Logger::vendor_interface(Generation generation) noexcept {
  if (generation == Generation::v8 || generation == Generation::v10) return &state_->v8;
  return &state_->v11;
}

void Logger::set_threshold(Severity least) noexcept { state_->threshold = least; }

void Logger::log(Severity severity, const char* text) noexcept try {
  const bool error = severity <= Severity::error;
  if (text == nullptr || (!error && severity > state_->threshold.load())) return;
  std::string line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  const std::lock_guard lock(state_->mutex);
  if (error) {
    const auto thread = std::this_thread::get_id();
    state_->errors.push_back({state_->sequence++, thread, state_->scopes.contains(thread), line});
    if (state_->errors.size() > error_limit) state_->errors.pop_front();
  }
  if (severity > state_->threshold.load()) return;
  if (state_->queue.size() < queue_limit) {
    state_->queue.push_back({severity, std::move(line)});
    state_->pending = true;
  } else {
    ++state_->dropped;
  }
} catch (...) {  // NOLINT(bugprone-empty-catch)
  // No memory for a log line is no reason to end the process.
}

std::vector<LogRecord> Logger::take() {
  const std::lock_guard lock(state_->mutex);
  std::vector<LogRecord> records(std::make_move_iterator(state_->queue.begin()),
                                 std::make_move_iterator(state_->queue.end()));
  state_->queue.clear();
  state_->pending = false;
  if (const auto dropped = std::exchange(state_->dropped, 0); dropped > 0) {
    records.push_back({Severity::warning, std::to_string(dropped) + " more lines were dropped"});
  }
  return records;
}

bool Logger::pending() const noexcept { return state_->pending; }

ErrorScope::ErrorScope() noexcept {
  auto& state = *Logger::instance().state_;
  const std::lock_guard lock(state.mutex);
  start_ = state.sequence;
  try {
    state.scopes.insert(std::this_thread::get_id());
    is_known_ = true;
  } catch (...) {
    return;  // this thread's lines may then explain another thread's error
  }
}

ErrorScope::~ErrorScope() {
  if (!is_known_) return;
  auto& state = *Logger::instance().state_;
  const std::lock_guard lock(state.mutex);
  state.scopes.erase(state.scopes.find(std::this_thread::get_id()));
}

std::string ErrorScope::text() const {
  auto& state = *Logger::instance().state_;
  const std::lock_guard lock(state.mutex);
  const auto join = [&](auto&& belongs) {
    std::string text;
    for (const auto& line : state.errors) {
      if (line.sequence < start_ || !belongs(line)) continue;
      if (!text.empty()) text += "\n";
      text += line.text;
    }
    return text;
  };
  const auto self = std::this_thread::get_id();
  auto text = join([&](const ErrorLine& line) { return line.thread == self; });
  if (text.empty()) text = join([](const ErrorLine& line) { return !line.in_scope; });
  return text;
}

std::string ErrorScope::explain(const std::string& what) const {
  const auto lines = text();
  return lines.empty() ? what : what + ":\n" + lines;
}

}  // namespace fasttrt::nvinfer
