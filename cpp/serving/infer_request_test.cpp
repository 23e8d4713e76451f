#include "serving/infer_request.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "serving/infer_response.hpp"
#include "serving/model_for_tests.hpp"

namespace fasttrt::serving {
namespace {

std::string header_of(const std::string& first, const std::string& second,
                      const std::string& rest = "") {
  return "{\"inputs\":[" + first + "," + second + "]" + rest +
         R"(,"parameters":{"binary_data_output":true}})";
}

std::string input(const std::string& name, const std::string& datatype, const std::string& shape,
                  std::size_t bytes) {
  return R"({"name":")" + name + R"(","datatype":")" + datatype + R"(","shape":)" + shape +
         R"(,"parameters":{"binary_data_size":)" + std::to_string(bytes) + "}}";
}

InferRequestRef make(const TestModel& model, const std::string& json, const std::string& data,
                     std::int64_t max_batch_size = 0,
                     const SharedMemoryTable* shared_memory = nullptr) {
  const auto budget = std::make_shared<MemoryBudget>(std::size_t{1} << 20);
  RequestBody body(budget, nullptr, json.size());
  const auto bytes = json + data;
  REQUIRE(body.reserve(bytes.size()));
  if (!bytes.empty()) std::memcpy(body.room().data(), bytes.data(), bytes.size());
  body.commit(bytes.size());
  InferHeader scratch;
  auto request = InferRequest::make(model.served("m\"", "1", max_batch_size), body, json.size(),
                                    scratch, shared_memory);
  CHECK(body.size() == (request ? 0 : bytes.size()));  // taken, or left
  return request;
}

std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

TEST_CASE("Inputs come in any order, and lie anywhere") {
  std::mt19937 random(std::random_device{}());
  std::uniform_real_distribution<float> values(-1, 1);
  const TestModel model;
  std::vector<float> x(6);
  std::vector<float> twice;
  twice.reserve(x.size());
  for (auto& value : x) value = values(random);
  for (const auto value : x) twice.push_back(2 * value);
  const auto first = input("x", "FP32", "[2,3]", 24);
  const auto second = input("id", "UINT8", "[3]", 3);  // of another length than x
  for (const bool is_swapped : {false, true}) {
    const auto json = is_swapped ? header_of(second, first) : header_of(first, second);
    const auto data = is_swapped ? "abc" + bytes_of(x) : bytes_of(x) + "abc";
    const auto request = make(model, json, data);
    REQUIRE(request);
    CHECK(reinterpret_cast<std::uintptr_t>(request->inputs()[0].data) % sizeof(float) == 0);
    model.dispatcher->submit(request, engine::Staging::lend);
    REQUIRE(request->wait_until(engine::Request::Clock::now() + std::chrono::seconds(30)));
    const auto response = infer_response(*request);
    CHECK(response.status == 200);
    CHECK(
        response.body ==
        R"({"model_name":"m\"","model_version":"1","outputs":[{"name":"twice","datatype":"FP32",)"
        R"("shape":[2,3],"parameters":{"binary_data_size":24}},{"name":"same","datatype":"UINT8",)"
        R"("shape":[3],"parameters":{"binary_data_size":3}}]})");
    REQUIRE(response.parts.size() == 2);
    CHECK(response.parts[0] == bytes_of(twice));
    CHECK(response.parts[1] == "abc");
    CHECK(request->model().counters().success == 1);
  }
}

TEST_CASE("Only requests that fit the model are made") {
  const TestModel model;
  const auto x = input("x", "FP32", "[1,3]", 12);
  const auto id = input("id", "UINT8", "[1]", 1);
  const std::string data(13, '\0');
  CHECK(make(model, header_of(x, id), data));
  CHECK(make(model, header_of(x, id), data, 1));
  CHECK(!make(model, header_of(x, id), data + "x"));
  CHECK(!make(model, header_of(x, id), data.substr(1)));
  CHECK(!make(model, header_of(x, x), std::string(24, '\0')));
  CHECK(!make(model, header_of(x, input("id", "INT8", "[1]", 1)), data));
  CHECK(!make(model, header_of(x, input("other", "UINT8", "[1]", 1)), data));
  CHECK(!make(model, header_of(input("x", "FP32", "[3,1]", 12), id), data));
  CHECK(!make(model, header_of(input("x", "FP32", "[3]", 12), id), data));
  CHECK(!make(model, header_of(input("x", "FP32", "[1,3]", 11), id), data));
  CHECK(!make(model, header_of(input("x", "FP32", "[6148914691236517206,3]", 8), id),
              std::string(9, '\0')));
  CHECK(make(model, header_of(input("x", "FP32", "[0,3]", 0), input("id", "UINT8", "[0]", 0)), ""));
  CHECK(!make(model, header_of(input("x", "FP32", "[0,3]", 0), input("id", "UINT8", "[0]", 0)), "",
              4));
  CHECK(!make(model, header_of(input("x", "FP32", "[2,3]", 24), id), std::string(25, '\0'), 4));
  CHECK(!make(model, header_of(x, id, R"(,"outputs":[{"name":"twice"},{"name":"twice"}])"), data));
  CHECK(!make(model, header_of(x, id, R"(,"outputs":[{"name":"other"}])"), data));
  CHECK(!make(model, "", data));
}

TEST_CASE("Outputs are those that were asked for, in that order") {
  const TestModel model;
  const auto json = header_of(input("x", "FP32", "[0,3]", 0), input("id", "UINT8", "[2]", 2),
                              R"(,"id":"q","outputs":[{"name":"same"},{"name":"twice"}])");
  const auto request = make(model, json, "ab");
  REQUIRE(request);
  model.dispatcher->submit(request, engine::Staging::lend);
  REQUIRE(request->wait_until(engine::Request::Clock::now() + std::chrono::seconds(30)));
  const auto response = infer_response(*request);
  CHECK(response.body ==
        R"({"id":"q","model_name":"m\"","model_version":"1","outputs":[{"name":"same","datatype":)"
        R"("UINT8","shape":[2],"parameters":{"binary_data_size":2}},{"name":"twice","datatype":)"
        R"("FP32","shape":[0,3],"parameters":{"binary_data_size":0}}]})");
  CHECK(response.parts == std::vector<std::string_view>{"ab"});
}

// Memory that its client may take away.
class TestRegion final : public SharedMemoryRegion {
 public:
  using SharedMemoryRegion::SharedMemoryRegion;
  void read(std::size_t offset, std::span<char> target) const override {
    if (is_gone) throw InputError("gone");
    std::memcpy(target.data(), memory.data() + offset, target.size());
  }
  void write(std::size_t offset, std::string_view bytes) const override {
    if (is_gone) throw InputError("gone");
    std::memcpy(memory.data() + offset, bytes.data(), bytes.size());
  }

  mutable std::string memory = std::string(size(), '\0');
  bool is_gone = false;
};

std::string shared(const std::string& region, std::size_t offset, std::size_t bytes) {
  return R"("parameters":{"shared_memory_region":")" + region + R"(","shared_memory_offset":)" +
         std::to_string(offset) + R"(,"shared_memory_byte_size":)" + std::to_string(bytes) + "}}";
}

TEST_CASE("Tensors lie in shared memory") {
  const TestModel model;
  const auto region = std::make_shared<TestRegion>(40);
  SharedMemoryTable table(64);
  REQUIRE(table.add("r", region));
  region->memory.replace(3, 12, bytes_of({1, -2, 0.5}));
  const auto x = [](std::size_t offset, std::size_t bytes = 12) {
    return R"({"name":"x","datatype":"FP32","shape":[1,3],)" + shared("r", offset, bytes);
  };
  const auto outputs = [](std::size_t offset, std::size_t bytes) {
    return R"(,"outputs":[{"name":"same"},{"name":"twice",)" + shared("r", offset, bytes) + "]";
  };
  const auto id = input("id", "UINT8", "[1]", 1);
  const auto run = [&](const std::string& json) {
    auto request = make(model, json, "i", 0, &table);
    REQUIRE(request);
    table.remove("r");  // the request has it
    CHECK(table.find("r") == nullptr);
    model.dispatcher->submit(request, engine::Staging::lend);
    REQUIRE(request->wait_until(engine::Request::Clock::now() + std::chrono::seconds(30)));
    REQUIRE(table.add("r", region));
    return infer_response(*request);
  };
  auto response = run(header_of(x(3), id, outputs(20, 20)));
  CHECK(response.body ==
        R"({"model_name":"m\"","model_version":"1","outputs":[{"name":"same","datatype":"UINT8",)"
        R"("shape":[1],"parameters":{"binary_data_size":1}},{"name":"twice","datatype":"FP32",)"
        R"("shape":[1,3]}]})");
  CHECK(response.parts == std::vector<std::string_view>{"i"});
  CHECK(region->memory.substr(20, 12) == bytes_of({2, -4, 1}));
  response = run(header_of(x(3), id, R"(,"outputs":[{"name":"twice",)" + shared("r", 0, 12) + "]"));
  CHECK(response.parts.empty());
  CHECK(response.headers == "Content-Type: application/json\r\n");
  CHECK(region->memory.substr(0, 12) == bytes_of({2, -4, 1}));

  response = run(header_of(x(3), id, outputs(20, 11)));  // too small for the output
  CHECK(response.status == 400);
  CHECK(response.body.find("'twice' (11 bytes) should be at least 12 bytes") != std::string::npos);
  CHECK(!make(model, header_of(x(29), id), "i", 0, &table));
  CHECK(!make(model, header_of(x(41, 0), id), "i", 0, &table));
  CHECK(!make(model, header_of(x(3, 11), id), "i", 0, &table));
  CHECK(!make(model, header_of(x(3), id, outputs(20, 21)), "i", 0, &table));
  CHECK(!make(model, header_of(x(3), id), "i"));  // there is no table
  {
    const auto copy = table.copy(*region, 0, 40, nullptr);
    REQUIRE(copy);
    CHECK(make(model, header_of(x(3), id), "i", 0, &table));
    const auto other = table.copy(*region, 0, 20, nullptr);
    CHECK(!make(model, header_of(x(3), id), "i", 0, &table));  // too much is copied
  }
  region->is_gone = true;
  CHECK(!make(model, header_of(x(3), id), "i", 0, &table));
  region->is_gone = false;
  const auto request = make(model, header_of(x(3), id, outputs(20, 20)), "i", 0, &table);
  region->is_gone = true;
  REQUIRE(request);
  model.dispatcher->submit(request, engine::Staging::lend);
  REQUIRE(request->wait_until(engine::Request::Clock::now() + std::chrono::seconds(30)));
  CHECK(infer_response(*request).body == R"({"error":"gone"})");
  table.remove("r");
  CHECK(!make(model, header_of(x(3), id), "i", 0, &table));
}

}  // namespace
}  // namespace fasttrt::serving
