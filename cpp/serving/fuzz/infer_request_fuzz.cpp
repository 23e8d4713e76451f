// Whatever a body says: a request that is made of it reads within the body, and says what it said.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "nvinfer/enums.hpp"
#include "serving/infer_request.hpp"
#include "serving/model_for_tests.hpp"

namespace {

using namespace fasttrt;
using namespace fasttrt::serving;

void require(bool condition) {
  if (!condition) std::abort();
}

// As a client writes it.
std::string to_json(const InferHeader& header) {
  std::string json = "{\"inputs\":[";
  for (const auto& input : header.inputs) {
    if (json.back() != '[') json += ',';
    json.append("{\"name\":\"").append(input.name).append("\",\"datatype\":\"");
    json.append(input.datatype).append("\",\"shape\":[");
    for (const auto size : input.shape) {
      if (json.back() != '[') json += ',';
      json += std::to_string(size);
    }
    json += "],\"parameters\":{\"binary_data_size\":" + std::to_string(input.bytes) + "}}";
  }
  json += "],\"parameters\":{\"binary_data_output\":true,\"priority\":" +
          std::to_string(header.priority) + ",\"timeout\":" + std::to_string(header.timeout_us) +
          "}";
  if (!header.id.empty()) json.append(",\"id\":\"").append(header.id).append("\"");
  if (!header.outputs.empty()) json += ",\"outputs\":[";
  for (const auto name : header.outputs) {
    if (json.back() != '[') json += ',';
    json.append("{\"name\":\"").append(name).append("\"}");
  }
  return json + (header.outputs.empty() ? "}" : "]}");
}

void check_header(const InferHeader& header) {
  const auto json = to_json(header);
  InferHeader again;
  require(read_infer_header(json, again));
  require(to_json(again) == json);
}

}  // namespace

// The first two bytes: how many of the others are JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TestModel tested;
  static const auto model = tested.served("m", "1");
  static const auto batched = tested.served("m", "1", 4);
  static const auto budget = std::make_shared<MemoryBudget>(std::size_t{1} << 30);
  if (size < 2) return 0;
  const std::size_t json_bytes = data[0] + std::size_t{256} * data[1];
  data += 2;
  size -= 2;
  InferHeader header;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  if (read_infer_header(all.substr(0, json_bytes), header)) check_header(header);
  for (const auto& served : {model, batched}) {
    RequestBody body(budget, nullptr, json_bytes);
    require(body.reserve(size));
    if (size > 0) std::memcpy(body.room().data(), data, size);
    body.commit(size);
    const auto request = InferRequest::make(served, body, json_bytes, header);
    require(body.size() == (request ? 0 : size));
    if (!request) continue;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < request->inputs().size(); ++i) {
      const auto& input = request->inputs()[i];
      const auto count = nvinfer::byte_size(served->inputs()[i].dtype, input.shape.volume());
      bytes += count;
      std::string copy(count, '\0');
      if (count > 0) std::memcpy(copy.data(), input.data, count);  // the sanitizer's to judge
    }
    require(json_bytes + bytes == size);
  }
  require(budget->left() == std::size_t{1} << 30);
  return 0;
}
