// Whatever a gRPC client sends: messages are taken off as they are framed, and what is read of one
// lies within it, and says what it said when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "nvinfer/enums.hpp"
#include "serving/grpc/infer_message.hpp"
#include "serving/grpc/infer_message_for_tests.hpp"
#include "serving/grpc/message_reader.hpp"
#include "serving/infer_request.hpp"
#include "serving/model_for_tests.hpp"

namespace {

using namespace fasttrt;
using namespace fasttrt::serving;
using namespace fasttrt::serving::grpc;

constexpr std::size_t max_bytes = 4096;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string text_parameter(std::uint32_t number, std::string_view name, std::string_view text) {
  return field_of(number, field_of(1, name) + field_of(2, field_of(3, text)));
}

std::string number_parameter(std::uint32_t number, std::string_view name, std::uint64_t value) {
  return field_of(number, field_of(1, name) + field_of(2, number_of(2, value)));
}

std::string shared_parameters(std::uint32_t number, const InferHeader::Shared& shared,
                              std::uint64_t bytes) {
  if (shared.region.empty()) return {};
  return text_parameter(number, "shared_memory_region", shared.region) +
         number_parameter(number, "shared_memory_byte_size", bytes) +
         number_parameter(number, "shared_memory_offset", shared.offset);
}

// As a client writes it.
std::string to_bytes(const InferMessage& message) {
  const auto& header = message.header;
  auto bytes = field_of(1, message.model) + field_of(2, message.version) + field_of(3, header.id) +
               number_parameter(4, "priority", header.priority) +
               number_parameter(4, "timeout", header.timeout_us);
  std::string contents;
  for (const auto& input : header.inputs) {
    std::string shape;
    for (const auto size : input.shape) append_varint(shape, static_cast<std::uint64_t>(size));
    bytes += field_of(5, field_of(1, input.name) + field_of(2, input.datatype) +
                             field_of(3, shape) + shared_parameters(4, input.shared, input.bytes));
    if (input.shared.region.empty()) contents += field_of(7, input.data);
  }
  for (const auto& output : header.outputs) {
    bytes +=
        field_of(6, field_of(1, output.name) + shared_parameters(2, output.shared, output.bytes));
  }
  return bytes + contents;
}

void check_within(std::string_view part, std::string_view whole) {
  if (part.empty()) return;
  require(part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void check_message(std::string_view bytes) {
  InferMessage message;
  if (!read_infer_message(bytes, message)) return;
  check_within(message.model, bytes);
  check_within(message.version, bytes);
  check_within(message.header.id, bytes);
  for (const auto& input : message.header.inputs) {
    for (const auto part : {input.name, input.datatype, input.data, input.shared.region}) {
      check_within(part, bytes);
    }
  }
  const auto written = to_bytes(message);
  InferMessage again;
  require(read_infer_message(written, again));
  require(to_bytes(again) == written);
}

void check_request(RequestBody body, const ServedModelPtr& model) {
  InferMessage message;
  const auto all = body.bytes();
  if (!read_infer_message({all.data(), all.size()}, message)) return;
  const auto request = InferRequest::make(model, body, message.header, nullptr);
  if (!request) return;
  for (std::size_t i = 0; i < request->inputs().size(); ++i) {
    const auto& input = request->inputs()[i];
    const auto count = nvinfer::byte_size(model->inputs()[i].dtype, input.shape.volume());
    std::string copy(count, '\0');
    if (count > 0) std::memcpy(copy.data(), input.data, count);  // the sanitizer's to judge
  }
}

}  // namespace

// The first byte: how many of the others come at once.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TestModel tested;
  static const auto model = tested.served("m", "1", 4);
  static const auto budget = std::make_shared<MemoryBudget>(std::size_t{1} << 30);
  if (size < 1) return 0;
  const std::size_t step = std::size_t{1} + data[0];
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_message(all);  // one without a frame
  MessageReader reader(max_bytes);
  for (std::size_t begin = 0; begin < all.size(); begin += step) {
    auto part = all.substr(begin, step);
    while (!part.empty()) {
      const auto left = part.size();
      const auto result = reader.read(part, {budget, nullptr, 0});
      if (result == MessageReader::Result::refused) {
        require(!reader.error().text.empty());
        return 0;
      }
      require(part.size() < left);
      if (result == MessageReader::Result::incomplete) continue;
      auto message = reader.take();
      require(message.body.size() <= max_bytes);
      if (!message.is_compressed) check_request(std::move(message.body), model);
    }
  }
  return 0;
}
