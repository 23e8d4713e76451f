#include "serving/infer_header.hpp"

#include "serving/json_reader.hpp"

namespace fasttrt::serving {
namespace {

// Keys may come once.
class Once {
 public:
  [[nodiscard]] bool operator()(unsigned key) noexcept {
    const auto bit = 1U << key;
    const bool is_new = (seen_ & bit) == 0;
    seen_ |= bit;
    return is_new;
  }
  [[nodiscard]] bool has(unsigned key) const noexcept { return (seen_ & (1U << key)) != 0; }

 private:
  unsigned seen_ = 0;
};

// Reads an object: on_key(key) reads a value, and returns false for a key that it does not know.
template <class OnKey>
bool read_object(JsonReader& reader, const OnKey& on_key) {
  if (!reader.begin_object()) return false;
  std::string_view key;
  while (reader.next_key(key)) {
    if (!on_key(key)) return false;
  }
  return !reader.failed();
}

template <class OnItem>
bool read_array(JsonReader& reader, const OnItem& on_item) {
  if (!reader.begin_array()) return false;
  while (reader.next_item()) {
    if (!on_item()) return false;
  }
  return !reader.failed();
}

bool read_shape(JsonReader& reader, nvinfer::Dims& shape) {
  nvinfer::Dims sizes(nvinfer::max_rank);
  int rank = 0;
  const bool is_read = read_array(reader, [&] {
    std::uint64_t size = 0;
    if (rank == nvinfer::max_rank || !reader.read(size)) return false;
    sizes[rank++] = static_cast<std::int64_t>(size);
    return true;
  });
  if (!is_read) return false;
  shape = nvinfer::Dims(rank);
  for (int axis = 0; axis < rank; ++axis) shape[axis] = sizes[axis];
  return true;
}

// Reads one of the parameters that name a place in shared memory.
bool read_shared(JsonReader& reader, std::string_view parameter, Once& once,
                 InferHeader::Shared& shared, std::uint64_t& bytes) {
  if (parameter == "shared_memory_region") return once(10) && reader.read(shared.region);
  if (parameter == "shared_memory_byte_size") return once(11) && reader.read(bytes);
  return parameter == "shared_memory_offset" && once(12) && reader.read(shared.offset);
}

// Whether the parameters name a place completely.
bool is_place(const Once& once, const InferHeader::Shared& shared) {
  return once.has(10) && once.has(11) && !shared.region.empty();
}

bool has_shared(const Once& once) { return once.has(10) || once.has(11) || once.has(12); }

bool read_input(JsonReader& reader, InferHeader::Input& input) {
  Once once;
  const bool is_read = read_object(reader, [&](std::string_view key) {
    if (key == "name") return once(0) && reader.read(input.name);
    if (key == "shape") return once(1) && read_shape(reader, input.shape);
    if (key == "datatype") return once(2) && reader.read(input.datatype);
    return key == "parameters" && once(3) && read_object(reader, [&](std::string_view parameter) {
             if (parameter == "binary_data_size") return once(4) && reader.read(input.bytes);
             return read_shared(reader, parameter, once, input.shared, input.bytes);
           });
  });
  const bool has_data = once.has(4) ? !has_shared(once) : is_place(once, input.shared);
  return is_read && once.has(0) && once.has(1) && once.has(2) && has_data;
}

// is_marked: whether the output says that it is binary, or in shared memory; it must not ask for
// text.
bool read_output(JsonReader& reader, InferHeader::Output& output, bool& is_marked) {
  Once once;
  bool is_binary = false;
  const bool is_read = read_object(reader, [&](std::string_view key) {
    if (key == "name") return once(0) && reader.read(output.name);
    return key == "parameters" && once(1) && read_object(reader, [&](std::string_view parameter) {
             if (parameter == "binary_data") return once(2) && reader.read(is_binary);
             return read_shared(reader, parameter, once, output.shared, output.bytes);
           });
  });
  if (!is_read || !once.has(0)) return false;
  is_marked = has_shared(once);
  if (is_marked) return is_place(once, output.shared) && !is_binary;
  is_marked = is_binary;
  return is_binary || !once.has(2);
}

}  // namespace

void InferHeader::clear() noexcept {
  inputs.clear();
  outputs.clear();
  id = {};
  priority = timeout_us = 0;
}

bool read_infer_header(std::string_view json, InferHeader& header) {
  header.clear();
  JsonReader reader(json);
  bool all_marked = true;  // the outputs, as binary
  bool all_binary = false;
  const auto on_input = [&] { return read_input(reader, header.inputs.emplace_back()); };
  const auto on_output = [&] {
    bool is_marked = false;
    const bool is_read = read_output(reader, header.outputs.emplace_back(), is_marked);
    all_marked = all_marked && is_marked;
    return is_read;
  };
  Once once_parameter;
  const auto on_parameter = [&](std::string_view name) {
    if (name == "binary_data_output") return once_parameter(0) && reader.read(all_binary);
    if (name == "priority") return once_parameter(1) && reader.read(header.priority);
    return name == "timeout" && once_parameter(2) && reader.read(header.timeout_us);
  };
  Once once;
  const bool is_read = read_object(reader, [&](std::string_view key) {
    if (key == "id") return once(0) && reader.read(header.id);
    if (key == "inputs") return once(1) && read_array(reader, on_input);
    if (key == "outputs") return once(2) && read_array(reader, on_output);
    return key == "parameters" && once(3) && read_object(reader, on_parameter);
  });
  const bool names_outputs = once.has(2);
  return is_read && reader.finish() && once.has(1) && (!names_outputs || !header.outputs.empty()) &&
         (all_binary || (names_outputs && all_marked));
}

}  // namespace fasttrt::serving
