#include "serving/tracer.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace fasttrt::serving {
namespace {

using std::chrono::nanoseconds;

RequestTrace::TimePoint at(std::int64_t ns) { return RequestTrace::TimePoint(nanoseconds(ns)); }

TEST_CASE("The events of a request: its stages, one after the other") {
  RequestTrace trace;
  trace.model = "m\"";
  trace.version = "1";
  trace.client = "here";
  trace.status = 200;
  trace.begin = at(1'000'001);
  trace.add("one", at(1'000'100));
  trace.add("none", {});
  trace.add("early", at(7));
  auto events = to_events(trace, 5);
  const auto pid_at = events.find("\"pid\":");
  const auto pid = events.substr(pid_at, events.find(',', pid_at) - pid_at);
  const auto event = [&](const std::string& name, const std::string& phase, const std::string& ts,
                         const std::string& rest = "") {
    return ",\n{\"name\":\"" + name + R"(","cat":"infer",)" + pid + R"(,"tid":0,"id":"5","ph":")" +
           phase + R"(","ts":)" + ts + rest + "}";
  };
  CHECK(events ==
        event("m\\\"", "b", "1000.001", R"(,"args":{"version":"1","client":"here","status":200})") +
            event("one", "b", "1000.001") + event("one", "e", "1000.100") +
            event("early", "b", "1000.100") + event("early", "e", "1000.100") +
            event("m\\\"", "e", "1000.100"));
  for (int i = 0; i < 20; ++i) trace.add("more", at(2'000'000 + i));
  CHECK(trace.stage_count == trace.stages.size());
}

TEST_CASE("One request of so many is wanted, so often") {
  TraceSampling sampling;
  CHECK(!sampling.wants("m"));
  sampling.set("", {true, 3, -1});
  int wanted = 0;
  for (int i = 0; i < 9; ++i) wanted += sampling.wants(i % 2 == 0 ? "m" : "n") ? 1 : 0;
  CHECK(wanted == 3);
  sampling.set("m", {true, 1, 2});
  wanted = 0;
  for (int i = 0; i < 9; ++i) wanted += sampling.wants("m") ? 1 : 0;
  CHECK(wanted == 2);
  CHECK(sampling.setting("m").count == 0);
  CHECK(sampling.setting("n").count == -1);
  sampling.set("", {false, 1, -1});
  CHECK(!sampling.wants("n"));
  sampling.clear("m");
  sampling.clear("none");
  CHECK(!sampling.wants("m"));
  CHECK(sampling.setting("m").rate == 1);
}

}  // namespace
}  // namespace fasttrt::serving
