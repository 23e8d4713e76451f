#include "engine/output_slot.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::engine {

OutputSlot::OutputSlot(std::shared_ptr<cuda::PrimaryContext> device,
                       std::shared_ptr<PinnedPool> pool, CopyPool& copies, const IoTensor& tensor,
                       std::size_t mapped_limit)
    : device_(std::move(device)),
      pool_(std::move(pool)),
      copies_(copies),
      tensor_(tensor),
      mapped_limit_(mapped_limit) {}

std::size_t OutputSlot::bytes(const Dims& shape) const noexcept {
  return nvinfer::byte_size(tensor_.dtype, shape.volume());
}

// Of memory that is seldom replaced: all of the limit where that is little.
std::size_t OutputSlot::mapped_size(std::size_t bytes) const noexcept {
  constexpr std::size_t little = std::size_t{64} << 10;
  return std::max({std::min(mapped_limit_, little), std::bit_ceil(bytes), std::size_t{1}});
}

bool OutputSlot::is_mapped(const OutputArray& result) const noexcept {
  return result.place == Place::host && allocator_ == nullptr &&
         bytes(result.shape) <= mapped_limit_;
}

// Whether the engine writes straight to the caller's memory.
bool OutputSlot::is_direct(const OutputArray& result) const noexcept {
  return result.place == Place::device && result.target != nullptr && allocator_ == nullptr &&
         bytes(result.shape) > 0 &&
         reinterpret_cast<std::uintptr_t>(result.target) % tensor_alignment == 0;
}

Placement OutputSlot::place(const OutputArray& result, const Dims& shape) {
  const auto needed = bytes(shape);
  if (tensor_.on_host) {
    values_ = HostBuffer(needed);
    return {values_.data()};
  }
  if (is_direct(result)) return {result.target};
  bool moved = false;
  if (is_mapped(result)) {
    if (mapped_.data() == nullptr || needed > mapped_.size()) {
      moved = mapped_.data() != nullptr;
      mapped_ = cuda::PinnedBuffer(device_, mapped_size(needed), cuda::HostMemory::mapped);
    }
    return {mapped_.device_data(), moved};
  }
  if (buffer_.data() == nullptr || needed > buffer_.size()) {
    moved = buffer_.data() != nullptr;
    buffer_ = cuda::DeviceBuffer();  // first, so that its memory can serve again
    buffer_ = cuda::DeviceBuffer(device_, needed);
  }
  return {buffer_.data(), moved};
}

nvinfer::OutputAllocator& OutputSlot::use_allocator() {
  if (allocator_ == nullptr) allocator_ = std::make_unique<nvinfer::OutputAllocator>(device_);
  return *allocator_;
}

void OutputSlot::prepare(OutputArray& result, const Dims& shape) const {
  if (result.target != nullptr) {
    if (result.shape != shape) {
      throw InputError(tensor_.name + ": the result has shape " + shape.str() +
                       ", but out= has shape " + result.shape.str());
    }
    return;
  }
  result.shape = shape;
  const auto needed = bytes(shape);
  if (result.place == Place::device) {
    result.device = cuda::DeviceBuffer();  // first, so that its memory can serve again
    result.device = cuda::DeviceBuffer(device_, needed);
  } else if (tensor_.on_host || needed <= mapped_limit_) {
    result.host = HostBuffer(needed);
  } else {
    result.host = HostBuffer(pool_, needed);
  }
}

void OutputSlot::fetch(OutputArray& result, cuda::StreamRef stream) {
  landing_ = HostBuffer();
  if (tensor_.on_host) {
    if (result.place == Place::device) {
      stream.synchronize();  // the host writes the values by the end of the run at the latest
      cuda::copy_to_device(result.data(), values_.data(), bytes(result.shape), stream);
    }
    return;
  }
  if (is_mapped(result)) return;
  const void* source = buffer_.data();
  if (allocator_ != nullptr) {
    stream.synchronize();  // the shape is reported by the end of the run at the latest
    if (!allocator_->dims().known()) {
      throw Error("TensorRT reported no shape for the output " + tensor_.name);
    }
    prepare(result, allocator_->dims());
    source = allocator_->data();
  }
  const auto count = bytes(result.shape);
  if (result.place == Place::device) {
    if (!is_direct(result)) cuda::copy_on_device(result.data(), source, count, stream);
    return;
  }
  void* target = result.data();
  if (result.target != nullptr && !cuda::is_pinned(result.target)) {
    landing_ = HostBuffer(pool_, count);
    target = landing_.data();
  }
  cuda::copy_to_host(target, source, count, stream);
}

void OutputSlot::complete(OutputArray& result) {
  if (result.place == Place::device) return;
  const void* source = nullptr;
  if (tensor_.on_host) {
    source = values_.data();
  } else if (is_mapped(result)) {
    source = mapped_.data();
  } else if (landing_.data() != nullptr) {
    source = landing_.data();
  }
  if (source != nullptr) copies_.copy(result.data(), source, bytes(result.shape));
  landing_ = HostBuffer();
}

}  // namespace fasttrt::engine
