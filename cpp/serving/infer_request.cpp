#include "serving/infer_request.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::serving {
namespace {

using engine::InputArray;
using nvinfer::DataType;
using nvinfer::Dims;

constexpr std::uint64_t highest_priority = 1;
constexpr std::uint64_t longest_timeout_us = 1'000'000'000'000'000;

bool fits(const Dims& shape, const Dims& expected) noexcept {
  return std::ranges::equal(shape, expected,
                            [](auto size, auto wanted) { return wanted < 0 || size == wanted; });
}

// Whether an array of the shape has so many bytes.
bool has_size(const Dims& shape, DataType type, std::uint64_t bytes) noexcept {
  auto left = bytes / static_cast<std::uint64_t>(nvinfer::bits_per_element(type) / 8);
  std::uint64_t volume = 1;
  for (const auto size : shape) {
    const auto extent = static_cast<std::uint64_t>(size);
    if (extent != 0 && volume > left / extent) return false;
    volume *= extent;
  }
  return nvinfer::byte_size(type, static_cast<std::int64_t>(volume)) == bytes;
}

bool is_aligned(const void* data, DataType type) noexcept {
  const auto element = static_cast<std::uintptr_t>(nvinfer::bits_per_element(type) / 8);
  return reinterpret_cast<std::uintptr_t>(data) % element == 0;
}

bool is_boolean(std::string_view data) noexcept {
  return std::ranges::all_of(data, [](char byte) { return byte == 0 || byte == 1; });
}

// Whether the sizes of the inputs that are not shared are those of the data, of which they then
// have their parts.
bool distribute(std::string_view data, InferHeader& header) noexcept {
  for (auto& input : header.inputs) {
    if (!input.shared.region.empty()) continue;
    if (input.bytes > data.size()) return false;
    input.data = data.substr(0, static_cast<std::size_t>(input.bytes));
    data.remove_prefix(input.data.size());
  }
  return data.empty();
}

}  // namespace

InferRequestRef InferRequest::make(const ServedModelPtr& model, RequestBody& body,
                                   std::size_t json_bytes, InferHeader& header,
                                   const SharedMemoryTable* shared_memory) {
  const auto bytes = body.bytes();
  if (json_bytes > bytes.size()) return {};
  if (!read_infer_header(bytes.substr(0, json_bytes), header)) return {};
  if (!distribute(bytes.substr(json_bytes), header)) return {};
  return make(model, body, header, shared_memory);
}

InferRequestRef InferRequest::make(const ServedModelPtr& model, RequestBody& body,
                                   const InferHeader& header,
                                   const SharedMemoryTable* shared_memory) {
  if (header.timeout_us > longest_timeout_us) return {};
  const auto now = Clock::now();
  InferRequestRef request(new InferRequest(model, now));
  if (!request->select_outputs(header, shared_memory) ||
      !request->place_inputs(header, shared_memory) || !request->is_batch_valid()) {
    return {};
  }
  request->id_ = header.id;
  if (header.priority == highest_priority) request->priority = engine::Priority::high;
  if (header.timeout_us > 0) {
    request->deadline = now + std::chrono::microseconds(header.timeout_us);
  }
  request->outputs_.resize(model->outputs().size());
  request->body_ = std::move(body);  // the views stay valid
  return request;
}

bool InferRequest::place_inputs(const InferHeader& header, const SharedMemoryTable* shared_memory) {
  if (header.inputs.size() != model_->inputs().size()) return false;
  inputs_.resize(header.inputs.size());
  return std::ranges::all_of(header.inputs,
                             [&](const auto& input) { return place_input(input, shared_memory); });
}

// The array in shared memory, or in the body.
bool InferRequest::place_input(const InferHeader::Input& input,
                               const SharedMemoryTable* shared_memory) {
  const auto& tensors = model_->inputs();
  const auto tensor = std::ranges::find(tensors, input.name, &ServedModel::Tensor::name);
  if (tensor == tensors.end() || tensor->datatype != input.datatype) return false;
  if (!fits(input.shape, tensor->shape)) return false;
  if (!has_size(input.shape, tensor->dtype, input.bytes)) return false;
  auto& array = inputs_[static_cast<std::size_t>(tensor - tensors.begin())];
  if (array.data != nullptr) return false;  // it came twice
  auto bytes = input.data;
  if (!input.shared.region.empty()) {
    if (!copy_shared(input, shared_memory)) return false;
    bytes = copies_.back().bytes();
  }
  if (tensor->dtype == DataType::boolean && !is_boolean(bytes)) return false;
  const void* const begin = bytes.data();
  array = {begin, input.shape, engine::Place::host};
  if (!is_aligned(begin, tensor->dtype)) {
    auto& copy = aligned_.emplace_back(bytes.size());
    if (!bytes.empty()) std::memcpy(copy.data(), begin, bytes.size());
    array.data = copy.data();
  }
  return true;
}

bool InferRequest::copy_shared(const InferHeader::Input& input,
                               const SharedMemoryTable* shared_memory) {
  const auto region = shared_memory == nullptr ? nullptr : shared_memory->find(input.shared.region);
  if (region == nullptr || !region->has(input.shared.offset, input.bytes)) return false;
  const auto& dispatcher = model_->dispatcher();
  try {
    auto copy = shared_memory->copy(*region, input.shared.offset, input.bytes,
                                    dispatcher.is_batching() ? nullptr : dispatcher.tensors().pool);
    if (!copy) return false;
    copies_.push_back(std::move(*copy));
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool InferRequest::select_outputs(const InferHeader& header,
                                  const SharedMemoryTable* shared_memory) {
  const auto& tensors = model_->outputs();
  for (const auto& output : header.outputs) {
    const auto tensor = std::ranges::find(tensors, output.name, &ServedModel::Tensor::name);
    const auto index = static_cast<std::size_t>(tensor - tensors.begin());
    if (tensor == tensors.end() ||
        std::ranges::find(wanted_, index, &Wanted::index) != wanted_.end())
      return false;
    auto& wanted = wanted_.emplace_back(Wanted{index, nullptr, output.shared.offset, output.bytes});
    if (output.shared.region.empty()) continue;
    if (shared_memory != nullptr) wanted.region = shared_memory->find(output.shared.region);
    if (wanted.region == nullptr || !wanted.region->has(wanted.offset, wanted.max_bytes))
      return false;
  }
  if (!wanted_.empty()) return true;
  for (std::size_t i = 0; i < tensors.size(); ++i) wanted_.push_back({i, nullptr, 0, 0});
  return true;
}

bool InferRequest::is_batch_valid() const noexcept {
  const auto most = model_->max_batch_size();
  if (most == 0 || inputs_.empty()) return true;
  if (inputs_.front().shape.rank() == 0) return false;
  const auto size = inputs_.front().shape[0];
  return size >= 1 && size <= most && std::ranges::all_of(inputs_, [&](const InputArray& array) {
           return array.shape.rank() > 0 && array.shape[0] == size;
         });
}

}  // namespace fasttrt::serving
