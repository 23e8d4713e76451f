#include "serving/grpc/call_head.hpp"

#include <doctest/doctest.h>

#include "serving/grpc/status.hpp"

namespace fasttrt::serving::grpc {
namespace {

using std::chrono::nanoseconds;

TEST_CASE("Timeouts have digits and a unit") {
  CHECK(read_timeout("100m") == std::chrono::milliseconds(100));
  CHECK(read_timeout("1H") == std::chrono::hours(1));
  CHECK(read_timeout("2M") == std::chrono::minutes(2));
  CHECK(read_timeout("3S") == std::chrono::seconds(3));
  CHECK(read_timeout("4u") == std::chrono::microseconds(4));
  CHECK(read_timeout("5n") == nanoseconds(5));
  CHECK(read_timeout("99999999n") == nanoseconds(99'999'999));
  CHECK(read_timeout("99999999H") > std::chrono::hours(24 * 365));
  for (const auto* wrong : {"", "m", "1", "-1m", "1.5S", "999999999n", "1x", "1 m", "0x1m"}) {
    CHECK(!read_timeout(wrong));
  }
}

TEST_CASE("A call's headers are read") {
  CallHead head;
  head.add(":method", "POST");
  head.add(":path", "/inference.GRPCInferenceService/ModelStreamInfer");
  head.add("content-type", "application/grpc+proto");
  head.add("grpc-timeout", "1S");
  head.add("triton_grpc_error", "True");
  head.add("authorization", "Bearer a");
  head.add("user-agent", "test");
  CHECK(head.is_post);
  CHECK(head.is_grpc);
  CHECK(head.method == CallHead::Method::stream_infer);
  CHECK(head.timeout == std::chrono::seconds(1));
  CHECK(head.wants_status);
  CHECK(head.headers().size() == 2);
  head.add("authorization", "Bearer b");  // neither of them is one's own
  CHECK(head.authorization == "Bearer a, Bearer b");
  head.add("content-type", "application/grpcx");
  CHECK(!head.is_grpc);
  head.add("grpc-timeout", "1");
  CHECK(!head.is_timeout_valid);
  head.add(":path", "/inference.GRPCInferenceService/ModelInfer/");
  CHECK(head.method == CallHead::Method::other);
}

TEST_CASE("Reasons are percent-encoded, and cut between characters") {
  CHECK(percent_encoded("a b~") == "a b~");
  CHECK(percent_encoded("100%\n\x7f") == "100%25%0A%7F");
  CHECK(percent_encoded("\xc3\xbc") == "%C3%BC");
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "\xc3\xbc";
  const auto encoded = percent_encoded(text);
  CHECK(encoded.size() < 5000);
  CHECK(encoded.ends_with("%C3%BC..."));
}

}  // namespace
}  // namespace fasttrt::serving::grpc
