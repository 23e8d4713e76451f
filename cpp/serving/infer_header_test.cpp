#include "serving/infer_header.hpp"

#include <doctest/doctest.h>

#include <string>

#include "serving/json_reader.hpp"
#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

bool is_plain(std::string_view json) {
  InferHeader header;
  return read_infer_header(json, header);
}

const std::string input =
    R"({"name":"x","shape":[2,3],"datatype":"FP32","parameters":{"binary_data_size":24}})";
const std::string binary = R"("parameters":{"binary_data_output":true})";

TEST_CASE("A plain header is read") {
  InferHeader header;
  header.outputs.push_back({"old", {}, 0});
  const auto json = " {\"id\" : \"a 1\",\n\"inputs\":[" + input +
                    R"(,{"datatype":"INT64","parameters":{"binary_data_size":0},"shape":[],)"
                    R"("name":""}],"outputs":[{"name":"y","parameters":{"binary_data":true}},)"
                    R"({"parameters":{"binary_data":true},"name":"z"}],)"
                    R"("parameters":{"priority":1,"timeout":50}} )";
  REQUIRE(read_infer_header(json, header));
  CHECK(header.id == "a 1");
  REQUIRE(header.inputs.size() == 2);
  CHECK(header.inputs[0].name == "x");
  CHECK(header.inputs[0].datatype == "FP32");
  CHECK(header.inputs[0].shape == nvinfer::Dims{2, 3});
  CHECK(header.inputs[0].bytes == 24);
  CHECK(header.inputs[1].shape.rank() == 0);
  REQUIRE(header.outputs.size() == 2);
  CHECK(header.outputs[0].name == "y");
  CHECK(header.outputs[1].name == "z");
  CHECK(header.priority == 1);
  CHECK(header.timeout_us == 50);

  REQUIRE(read_infer_header("{\"inputs\":[]," + binary + "}", header));
  CHECK(header.id.empty());
  CHECK(header.inputs.empty());
  CHECK(header.outputs.empty());
  CHECK(header.priority == 0);
}

TEST_CASE("Outputs must be binary, each or all") {
  const auto with = [](const std::string& rest) { return is_plain("{\"inputs\":[]" + rest + "}"); };
  CHECK(with(R"(,"outputs":[{"name":"y","parameters":{"binary_data":true}}])"));
  CHECK(with(R"(,"outputs":[{"name":"y"}],)" + binary));
  CHECK(with(R"(,"outputs":[{"name":"y","parameters":{}}],)" + binary));
  CHECK(!with(""));
  CHECK(!with(R"(,"parameters":{"binary_data_output":false})"));
  CHECK(!with(R"(,"outputs":[{"name":"y"}])"));
  CHECK(!with(R"(,"outputs":[],)" + binary));
  CHECK(!with(R"(,"outputs":[{"name":"y","parameters":{"binary_data":false}}],)" + binary));
  CHECK(!with(R"(,"outputs":[{"name":"y","parameters":{"classification":3}}],)" + binary));
  CHECK(!with(R"(,"outputs":[{"parameters":{}}],)" + binary));
}

TEST_CASE("Tensors may be in shared memory") {
  const std::string shared =
      R"("parameters":{"shared_memory_region":"r 1","shared_memory_byte_size":24,)"
      R"("shared_memory_offset":8})";
  const std::string head = R"({"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32",)";
  const auto text = head + shared + R"(}],"outputs":[{"name":"y",)" + shared + "}]}";
  InferHeader header;  // which points into the text
  REQUIRE(read_infer_header(text, header));
  CHECK(header.inputs[0].shared.region == "r 1");
  CHECK(header.inputs[0].shared.offset == 8);
  CHECK(header.inputs[0].bytes == 24);
  CHECK(header.outputs[0].shared.region == "r 1");
  CHECK(header.outputs[0].shared.offset == 8);
  CHECK(header.outputs[0].bytes == 24);
  const auto with = [&](const std::string& parameters) {
    return is_plain(head + R"("parameters":{)" + parameters + "}}]," + binary + "}");
  };
  CHECK(with(R"("shared_memory_region":"r","shared_memory_byte_size":24)"));
  CHECK(!with(R"("shared_memory_region":"","shared_memory_byte_size":24)"));
  CHECK(!with(R"("shared_memory_region":"r")"));
  CHECK(!with(R"("shared_memory_byte_size":24)"));
  CHECK(!with(R"("shared_memory_offset":0,"binary_data_size":24)"));
  CHECK(!with(R"("shared_memory_region":"r","shared_memory_byte_size":24,"binary_data_size":24)"));
  CHECK(!with(R"("shared_memory_region":"r","shared_memory_byte_size":-1)"));
  CHECK(!with(
      R"("shared_memory_region":"r","shared_memory_byte_size":24,"shared_memory_offset":-1)"));
  const auto wants = [&](const std::string& parameters) {
    return is_plain(R"({"inputs":[],"outputs":[{"name":"y","parameters":{)" + parameters + "}}]}");
  };
  CHECK(wants(R"("shared_memory_region":"r","shared_memory_byte_size":24,"binary_data":false)"));
  CHECK(!wants(R"("shared_memory_region":"r","shared_memory_byte_size":24,"binary_data":true)"));
  CHECK(!wants(R"("shared_memory_region":"r","shared_memory_byte_size":24,"classification":1)"));
  CHECK(!wants(R"("shared_memory_region":"r")"));
  CHECK(!wants(R"("shared_memory_offset":0,"binary_data":true)"));
}

TEST_CASE("What is unusual or wrong is not plain") {
  const auto with_input = [](const std::string& json) {
    return is_plain("{\"inputs\":[" + json + "]," + binary + "}");
  };
  CHECK(with_input(input));
  for (
      const auto* json :
      {"", "{}", R"({"name":"x","shape":[1],"datatype":"FP32"})",
       R"({"name":"x","shape":[1],"datatype":"FP32","data":[1]})",
       R"({"name":"x","shape":[1],"datatype":"FP32","parameters":{}})",
       R"({"name":"x","shape":[-1],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[1.0],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[01],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[1e1],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[1,],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":1000000000000000000}})",
       R"({"name":"x","shape":[1,1,1,1,1,1,1,1,1],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"\u0078","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}})",
       R"({"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4,"binary_data_size":4}})",
       R"({"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4},})", "null",
       "[]", "\"x\""}) {
    CAPTURE(json);
    CHECK((!with_input(json) || std::string(json).empty()));
  }
  for (const auto& json :
       {std::string(), std::string("{"), "{" + binary + "}", "[{\"inputs\":[]," + binary + "}]",
        "{\"inputs\":[]," + binary + "}}", "{\"inputs\":[]," + binary + "} x",
        R"({"inputs":[],"inputs":[],)" + binary + "}", R"({"inputs":[],"other":1,)" + binary + "}",
        R"({"inputs":{},)" + binary + "}", "{\"inputs\":[];" + binary + "}",
        R"({"id":1,"inputs":[],)" + binary + "}", "{\"id\":\"a\tb\",\"inputs\":[]," + binary + "}",
        std::string(R"({"inputs":[],"parameters":{"binary_data_output":true,"sequence_id":1}})"),
        std::string(R"({"inputs":[],"parameters":{"binary_data_output":1}})"),
        std::string(R"({"inputs":[],"parameters":{"binary_data_output":true,"priority":-1}})")}) {
    CAPTURE(json);
    CHECK(!is_plain(json));
  }
}

TEST_CASE("Each beginning of a plain header is none") {
  const auto json = R"({"id":"1","inputs":[)" + input + "]," + binary + "}";
  REQUIRE(is_plain(json));
  for (std::size_t size = 0; size < json.size(); ++size) CHECK(!is_plain(json.substr(0, size)));
}

TEST_CASE("Nesting has an end") {
  JsonReader reader("[[[[[[[[[[");
  int depth = 0;
  while (reader.begin_array() && reader.next_item()) ++depth;
  CHECK(depth == 8);
  CHECK(reader.failed());
}

TEST_CASE("Text is written as JSON") {
  CHECK(json_string("a\"\\\n\x1f\xc3\xa9") == "\"a\\\"\\\\\\u000a\\u001f\xc3\xa9\"");
  CHECK(json_error("no") == R"({"error":"no"})");
}

}  // namespace
}  // namespace fasttrt::serving
