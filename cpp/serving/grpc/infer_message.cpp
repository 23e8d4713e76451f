#include "serving/grpc/infer_message.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "serving/grpc/protobuf_reader.hpp"

namespace fasttrt::serving::grpc {
namespace {

using Type = ProtobufField::Type;

constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();

// A field of text that may come once. Only ASCII: whether other text is valid is not looked at
// here.
bool take_text(const ProtobufField& field, std::string_view& text) noexcept {
  if (field.type != Type::bytes || !text.empty()) return false;
  text = field.bytes;
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// An entry of a map of parameters: key 1, value 2, which is an InferParameter.
struct Parameter {
  std::string_view key;
  ProtobufField value;
};

bool read_parameter(std::string_view bytes, Parameter& parameter) noexcept {
  ProtobufReader reader(bytes);
  ProtobufField key;
  ProtobufField value;
  ProtobufField end;
  if (!reader.next(key) || !key.is(1, Type::bytes)) return false;
  if (!reader.next(value) || !value.is(2, Type::bytes)) return false;
  if (reader.next(end) || reader.failed()) return false;
  parameter.key = key.bytes;
  ProtobufReader inner(value.bytes);
  return inner.next(parameter.value) && !inner.next(end) && !inner.failed();
}

// int64_param 2, uint64_param 5; one that is not 0 came before.
bool take_number(const ProtobufField& value, std::uint64_t& number) noexcept {
  if (!(value.is(2, Type::varint) || value.is(5, Type::varint)) || number != 0) return false;
  number = value.value;
  return number <= largest;
}

bool read_request_parameter(std::string_view bytes, InferHeader& header) noexcept {
  Parameter parameter;
  if (!read_parameter(bytes, parameter)) return false;
  if (parameter.key == "priority") return take_number(parameter.value, header.priority);
  if (parameter.key == "timeout") return take_number(parameter.value, header.timeout_us);
  // Each request has one answer, which is the final one: the flag, which says something of others,
  // changes nothing. perf_analyzer always sends it.
  return parameter.key == "triton_enable_empty_final_response" &&
         parameter.value.is(1, Type::varint);
}

// A place in shared memory; string_param 3.
bool read_tensor_parameter(std::string_view bytes, InferHeader::Shared& shared,
                           std::uint64_t& size) noexcept {
  Parameter parameter;
  if (!read_parameter(bytes, parameter)) return false;
  const auto& [key, value] = parameter;
  if (key == "shared_memory_region") return value.number == 3 && take_text(value, shared.region);
  if (key == "shared_memory_byte_size") return take_number(value, size);
  return key == "shared_memory_offset" && take_number(value, shared.offset);
}

// Whether what was said of it is a place, or nothing was.
bool is_complete(const InferHeader::Shared& shared, std::uint64_t size) noexcept {
  return shared.region.empty() ? size == 0 && shared.offset == 0 : size > 0;
}

class ShapeReader {
 public:
  [[nodiscard]] bool add(std::uint64_t size) noexcept {
    if (rank_ == nvinfer::max_rank || size > largest) return false;
    sizes_[rank_++] = static_cast<std::int64_t>(size);
    return true;
  }
  [[nodiscard]] bool add(std::string_view packed) noexcept {
    ProtobufReader reader(packed);
    std::uint64_t size = 0;
    while (reader.next_packed(size)) {
      if (!add(size)) return false;
    }
    return !reader.failed();
  }
  [[nodiscard]] nvinfer::Dims shape() const {
    nvinfer::Dims shape(rank_);
    for (int axis = 0; axis < rank_; ++axis) shape[axis] = sizes_[axis];
    return shape;
  }

 private:
  nvinfer::Dims sizes_ = nvinfer::Dims(nvinfer::max_rank);
  int rank_ = 0;
};

// InferInputTensor: name 1, datatype 2, shape 3, parameters 4; contents are not plain.
bool read_input(std::string_view bytes, InferHeader::Input& input) {
  ProtobufReader reader(bytes);
  ProtobufField field;
  ShapeReader shape;
  while (reader.next(field)) {
    const bool is_read =
        (field.number == 1 && take_text(field, input.name)) ||
        (field.number == 2 && take_text(field, input.datatype)) ||
        (field.is(3, Type::bytes) && shape.add(field.bytes)) ||
        (field.is(3, Type::varint) && shape.add(field.value)) ||
        (field.is(4, Type::bytes) && read_tensor_parameter(field.bytes, input.shared, input.bytes));
    if (!is_read) return false;
  }
  input.shape = shape.shape();
  return !reader.failed() && is_complete(input.shared, input.bytes);
}

// InferRequestedOutputTensor: name 1, parameters 2.
bool read_output(std::string_view bytes, InferHeader::Output& output) noexcept {
  ProtobufReader reader(bytes);
  ProtobufField field;
  while (reader.next(field)) {
    const bool is_read = (field.number == 1 && take_text(field, output.name)) ||
                         (field.is(2, Type::bytes) &&
                          read_tensor_parameter(field.bytes, output.shared, output.bytes));
    if (!is_read) return false;
  }
  return !reader.failed() && is_complete(output.shared, output.bytes);
}

// Raw contents belong to the inputs that are not in shared memory, in their order.
class Placement {
 public:
  [[nodiscard]] bool has_begun() const noexcept { return has_begun_; }
  [[nodiscard]] bool place(std::string_view data,
                           std::vector<InferHeader::Input>& inputs) noexcept {
    has_begun_ = true;
    if (!find_next(inputs)) return false;
    auto& input = inputs[next_++];
    input.data = data;
    input.bytes = data.size();
    return true;
  }
  // Whether there is an input without data.
  [[nodiscard]] bool find_next(const std::vector<InferHeader::Input>& inputs) noexcept {
    while (next_ < inputs.size() && !inputs[next_].shared.region.empty()) ++next_;
    return next_ < inputs.size();
  }

 private:
  std::size_t next_ = 0;
  bool has_begun_ = false;
};

}  // namespace

std::string_view read_model_name(std::string_view bytes) noexcept {
  ProtobufReader reader(bytes);
  ProtobufField field;
  return reader.next(field) && field.is(1, Type::bytes) ? field.bytes : std::string_view();
}

bool read_infer_message(std::string_view bytes, InferMessage& message) {
  message.model = message.version = {};
  auto& header = message.header;
  header.clear();
  ProtobufReader reader(bytes);
  ProtobufField field;
  Placement placement;
  const auto read = [&] {
    switch (field.number) {
      case 1: return take_text(field, message.model);
      case 2: return take_text(field, message.version);
      case 3: return take_text(field, header.id);
      default: break;
    }
    if (field.type != Type::bytes) return false;
    switch (field.number) {
      case 4: return read_request_parameter(field.bytes, header);
      case 5:
        return !placement.has_begun() && read_input(field.bytes, header.inputs.emplace_back());
      case 6: return read_output(field.bytes, header.outputs.emplace_back());
      case 7: return placement.place(field.bytes, header.inputs);
      default: return false;
    }
  };
  while (reader.next(field)) {
    if (!read()) return false;
  }
  return !reader.failed() && !placement.find_next(header.inputs);
}

}  // namespace fasttrt::serving::grpc
