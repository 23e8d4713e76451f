// Whatever a body says: a request that is made of it reads within the body, and says what it said.
#include <algorithm>
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

// Shared memory without a client.
class Region final : public SharedMemoryRegion {
 public:
  using SharedMemoryRegion::SharedMemoryRegion;
  void read(std::size_t offset, std::span<char> target) const override {
    require(has(offset, target.size()));
    std::ranges::fill(target, '\1');
  }
  void write(std::size_t offset, std::string_view bytes) const override {
    require(has(offset, bytes.size()));
  }
};

// As a client writes it.
std::string to_json(const InferHeader::Shared& shared, std::uint64_t bytes) {
  std::string json = "\"shared_memory_region\":\"";
  json.append(shared.region).append("\",\"shared_memory_byte_size\":");
  return json + std::to_string(bytes) +
         ",\"shared_memory_offset\":" + std::to_string(shared.offset);
}

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
    json += "],\"parameters\":{";
    json += input.shared.region.empty() ? "\"binary_data_size\":" + std::to_string(input.bytes)
                                        : to_json(input.shared, input.bytes);
    json += "}}";
  }
  json += "],\"parameters\":{\"binary_data_output\":true,\"priority\":" +
          std::to_string(header.priority) + ",\"timeout\":" + std::to_string(header.timeout_us) +
          "}";
  if (!header.id.empty()) json.append(",\"id\":\"").append(header.id).append("\"");
  if (!header.outputs.empty()) json += ",\"outputs\":[";
  for (const auto& output : header.outputs) {
    if (json.back() != '[') json += ',';
    json.append("{\"name\":\"").append(output.name).append("\"");
    if (!output.shared.region.empty()) {
      json += ",\"parameters\":{" + to_json(output.shared, output.bytes) + "}";
    }
    json += '}';
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
  static const auto shared = [] {
    auto table = std::make_unique<SharedMemoryTable>(std::size_t{1} << 30);
    require(table->add("r", std::make_shared<Region>(64)));
    return table;
  }();
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
    const auto request = InferRequest::make(served, body, json_bytes, header, shared.get());
    require(body.size() == (request ? 0 : size));
    if (!request) continue;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < request->inputs().size(); ++i) {
      const auto& input = request->inputs()[i];
      const auto count = nvinfer::byte_size(served->inputs()[i].dtype, input.shape.volume());
      const auto sent =
          std::ranges::find(header.inputs, served->inputs()[i].name, &InferHeader::Input::name);
      if (sent->shared.region.empty()) bytes += count;
      std::string copy(count, '\0');
      if (count > 0) std::memcpy(copy.data(), input.data, count);  // the sanitizer's to judge
    }
    require(json_bytes + bytes == size);
  }
  require(budget->left() == std::size_t{1} << 30);
  return 0;
}
