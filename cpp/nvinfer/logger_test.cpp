#include "nvinfer/logger.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fasttrt::nvinfer {
namespace {

TEST_SUITE_BEGIN("logger");

// The one logger of the process, empty and at its default threshold before and after a test.
struct Log {
  Logger& logger = Logger::instance();

  Log() { clear(); }
  ~Log() { clear(); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void clear() const {
    logger.set_threshold(Severity::warning);
    (void)logger.take();
  }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (auto& record : logger.take()) texts.push_back(std::move(record.text));
    return texts;
  }
  void error(const char* text) const { logger.log(Severity::error, text); }
};

using Texts = std::vector<std::string>;

TEST_CASE("the threshold decides what is queued") {
  const Log log;
  log.logger.set_threshold(Severity::verbose);
  log.logger.log(Severity::verbose, "kept");
  log.logger.log(Severity::info, nullptr);
  CHECK(log.logger.pending());
  CHECK(log.texts() == Texts{"kept"});
  CHECK_FALSE(log.logger.pending());
  log.logger.set_threshold(Severity::internal_error);
  const ErrorScope errors;
  log.error("not queued, but kept for the scope");
  CHECK(log.texts().empty());
  CHECK(errors.text() == "not queued, but kept for the scope");
}

TEST_CASE("the queue is bounded, and says what it lost") {
  const Log log;
  constexpr std::size_t limit = 10000;
  for (std::size_t i = 0; i < limit + 5; ++i) log.logger.log(Severity::warning, "again");
  const auto texts = log.texts();
  REQUIRE(texts.size() == limit + 1);
  CHECK(texts.back() == "5 more lines were dropped");
  CHECK(log.texts().empty());
}

TEST_CASE("a scope quotes the errors since it was opened") {
  const Log log;
  log.error("before");
  const ErrorScope outer;
  CHECK(outer.explain("it failed") == "it failed");
  log.error("first");
  const ErrorScope inner;
  log.logger.log(Severity::internal_error, "second");
  log.logger.log(Severity::warning, "no error");
  CHECK(outer.text() == "first\nsecond");
  CHECK(inner.explain("it failed") == "it failed:\nsecond");
}

TEST_CASE("a scope quotes its own thread, else the library's threads, never another call") {
  const Log log;
  const ErrorScope errors;
  std::thread([&log] {
    const ErrorScope theirs;
    log.error("of another call");
    CHECK(theirs.text() == "of another call");
  }).join();
  CHECK(errors.text().empty());
  std::thread([&log] { log.error("of a worker"); }).join();
  CHECK(errors.text() == "of a worker");
  log.error("of this call");
  CHECK(errors.text() == "of this call");
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::nvinfer
