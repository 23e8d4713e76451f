#include "serving/grpc/infer_message.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "serving/grpc/infer_answer.hpp"
#include "serving/grpc/infer_message_for_tests.hpp"
#include "serving/grpc/protobuf_reader.hpp"
#include "serving/model_for_tests.hpp"

namespace fasttrt::serving::grpc {
namespace {

const std::string model = field_of(1, "m");
const std::string input = input_of("x", "FP32", {2, 3});

bool is_plain(const std::string& bytes) {
  InferMessage message;
  return read_infer_message(bytes, message);
}

std::string text_of(const OutgoingMessage& message) {
  std::string text;
  for (const auto piece : message.pieces) text += piece;
  return text;
}

// The bytes of all fields of a number.
std::vector<std::string> fields_of(std::string_view message, std::uint32_t number) {
  std::vector<std::string> found;
  ProtobufReader reader(message);
  ProtobufField field;
  while (reader.next(field)) {
    if (field.number == number) found.emplace_back(field.bytes);
  }
  REQUIRE(!reader.failed());
  return found;
}

TEST_CASE("A plain message is read") {
  InferMessage message;
  message.header.outputs.emplace_back().name = "old";
  const auto bytes = model + field_of(2, "3") + field_of(3, "a 1") + parameter_of("priority", 1) +
                     parameter_of("timeout", 500, 5) + input + input_of("id", "UINT8", {}) +
                     field_of(6, field_of(1, "y")) + field_of(7, std::string(24, 'd')) +
                     field_of(7, "");
  REQUIRE(read_infer_message(bytes, message));
  CHECK(message.model == "m");
  CHECK(message.version == "3");
  CHECK(message.header.id == "a 1");
  CHECK(message.header.priority == 1);
  CHECK(message.header.timeout_us == 500);
  REQUIRE(message.header.inputs.size() == 2);
  CHECK(message.header.inputs[0].name == "x");
  CHECK(message.header.inputs[0].datatype == "FP32");
  CHECK(message.header.inputs[0].shape == nvinfer::Dims{2, 3});
  CHECK(message.header.inputs[0].data == std::string(24, 'd'));
  CHECK(message.header.inputs[1].shape.rank() == 0);
  CHECK(message.header.inputs[1].data.empty());
  REQUIRE(message.header.outputs.size() == 1);
  CHECK(message.header.outputs[0].name == "y");
}

// A parameter of a tensor: field 4 of an input, 2 of an output.
std::string parameter(std::uint32_t field, const std::string& name, const std::string& value) {
  return field_of(field, field_of(1, name) + field_of(2, value));
}

TEST_CASE("Tensors in shared memory have no raw contents") {
  const auto region = [](std::uint32_t field) {
    return parameter(field, "shared_memory_region", field_of(3, "r")) +
           parameter(field, "shared_memory_byte_size", number_of(2, 24)) +
           parameter(field, "shared_memory_offset", number_of(2, 8));
  };
  const auto tensor = field_of(1, "x") + field_of(2, "FP32");
  const auto bytes = model + field_of(5, tensor + region(4)) + input_of("id", "UINT8", {2}) +
                     field_of(6, field_of(1, "y") + region(2)) + field_of(7, "ab");
  InferMessage message;  // which points into the bytes
  REQUIRE(read_infer_message(bytes, message));
  const auto& header = message.header;
  CHECK(header.inputs[0].shared.region == "r");
  CHECK(header.inputs[0].shared.offset == 8);
  CHECK(header.inputs[0].bytes == 24);
  CHECK(header.inputs[1].data == "ab");
  CHECK(header.outputs[0].shared.region == "r");
  CHECK(header.outputs[0].bytes == 24);
  CHECK(is_plain(model + field_of(5, tensor + region(4))));
  CHECK(!is_plain(model + field_of(5, tensor + region(4)) + field_of(7, "ab")));
  const auto size = parameter(4, "shared_memory_byte_size", number_of(2, 24));
  CHECK(!is_plain(model + field_of(5, tensor + size) + field_of(7, "ab")));
  const auto name = parameter(4, "shared_memory_region", field_of(3, "r"));
  CHECK(!is_plain(model + field_of(5, tensor + name)));
  CHECK(!is_plain(model + field_of(5, tensor + name + name + size)));
}

TEST_CASE("What is not plain is left to others") {
  const auto data = field_of(7, std::string(24, 'd'));
  CHECK(is_plain(model + input + data));
  CHECK(is_plain(model));
  CHECK(!is_plain(model + input));
  CHECK(!is_plain(model + data));
  CHECK(!is_plain(model + data + input));
  CHECK(!is_plain(model + input + data + data));
  CHECK(!is_plain(model + model + input + data));
  CHECK(!is_plain(model + number_of(3, 1) + input + data));
  CHECK(!is_plain(model + field_of(3, "\xc3\xbc") + input + data));
  CHECK(!is_plain(model + field_of(9, "") + input + data));
  CHECK(!is_plain(model + number_of(5, 1)));
  CHECK(!is_plain(model + parameter_of("sequence_id", 1) + input + data));
  const std::string flag = "triton_enable_empty_final_response";
  CHECK(is_plain(model + parameter_of(flag, 1, 1) + input + data));
  CHECK(!is_plain(model + parameter_of(flag, 1, 2) + input + data));
  CHECK(!is_plain(model + parameter_of("priority", 1, 1) + input + data));
  CHECK(!is_plain(model + parameter_of("priority", ~0ULL) + input + data));
  CHECK(
      !is_plain(model + parameter_of("priority", 1) + parameter_of("priority", 1) + input + data));
  const auto tensor = field_of(1, "x") + field_of(2, "FP32");
  CHECK(is_plain(model + field_of(5, tensor + number_of(3, 2) + number_of(3, 3)) + data));
  CHECK(!is_plain(model + field_of(5, tensor + field_of(4, "")) + data));
  CHECK(!is_plain(model + field_of(5, tensor + field_of(5, "")) + data));
  CHECK(!is_plain(model + input_of("x", "FP32", {~0ULL}) + data));
  CHECK(!is_plain(model + input_of("x", "FP32", {1, 1, 1, 1, 1, 1, 1, 1, 1}) + data));
  CHECK(!is_plain(model + input + field_of(6, field_of(1, "y") + field_of(2, "")) + data));
}

TEST_CASE("Answers have the results in the order in which they were asked for") {
  std::mt19937 random(std::random_device{}());
  const TestModel tested;
  std::vector<float> x(6);
  for (auto& value : x) value = static_cast<float>(random() % 1000);
  std::string data(24, '\0');
  std::memcpy(data.data(), x.data(), data.size());
  for (const auto kind : {AnswerKind::unary, AnswerKind::stream}) {
    auto bytes = model + field_of(3, "q");
    bytes += input;
    bytes += input_of("id", "UINT8", {2});
    for (const auto* output : {"same", "twice"}) bytes += field_of(6, field_of(1, output));
    bytes += field_of(7, data);
    bytes += field_of(7, "ab");
    RequestBody body(std::make_shared<MemoryBudget>(std::size_t{1} << 20), nullptr, 0);
    REQUIRE(body.reserve(bytes.size()));
    std::memcpy(body.room().data(), bytes.data(), bytes.size());
    body.commit(bytes.size());
    InferMessage message;
    REQUIRE(read_infer_message(body.bytes(), message));
    const auto request = InferRequest::make(tested.served("m", "7"), body, message.header, nullptr);
    REQUIRE(request);
    tested.dispatcher->submit(request, engine::Staging::lend);
    REQUIRE(request->wait_until(engine::Request::Clock::now() + std::chrono::seconds(30)));
    CHECK(!request->conclude());
    const auto answer = write_results(*request, kind);
    auto text = text_of(*answer);
    CHECK(text.size() == answer->size);
    REQUIRE(text.size() >= 5);
    CHECK(text[0] == '\0');
    CHECK(static_cast<unsigned char>(text[3]) * 256U + static_cast<unsigned char>(text[4]) ==
          text.size() - 5);
    text.erase(0, 5);
    if (kind == AnswerKind::stream) text = fields_of(text, 2).at(0);
    CHECK(fields_of(text, 1) == std::vector<std::string>{"m"});
    CHECK(fields_of(text, 2) == std::vector<std::string>{"7"});
    CHECK(fields_of(text, 3) == std::vector<std::string>{"q"});
    CHECK(fields_of(text, 4).size() == (kind == AnswerKind::stream ? 1 : 0));
    const auto outputs = fields_of(text, 5);
    REQUIRE(outputs.size() == 2);
    CHECK(outputs[0] == field_of(1, "same") + field_of(2, "UINT8") + field_of(3, "\x02"));
    CHECK(outputs[1] == field_of(1, "twice") + field_of(2, "FP32") + field_of(3, "\x02\x03"));
    const auto contents = fields_of(text, 6);
    REQUIRE(contents.size() == 2);
    CHECK(contents[0] == "ab");
    std::vector<float> twice(6);
    REQUIRE(contents[1].size() == 24);
    std::memcpy(twice.data(), contents[1].data(), 24);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(twice[i] == 2 * x[i]);
    const auto failure = text_of(*write_failure(*request, "why")).substr(5);
    CHECK(fields_of(failure, 1) == std::vector<std::string>{"why"});
    CHECK(fields_of(fields_of(failure, 2).at(0), 3) == std::vector<std::string>{"q"});
  }
}

}  // namespace
}  // namespace fasttrt::serving::grpc
