#include "engine/input_slot.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace fasttrt::engine {
namespace {

// The least to lock, so that memory for small arrays is seldom replaced.
constexpr std::size_t min_staging_bytes = std::size_t{32} << 10;

}  // namespace

InputSlot::InputSlot(std::shared_ptr<cuda::PrimaryContext> device, CopyPool& copies,
                     const IoTensor& tensor, std::size_t mapped_limit)
    : device_(std::move(device)), copies_(copies), tensor_(tensor), mapped_limit_(mapped_limit) {}

Placement InputSlot::stage(const InputArray& array, cuda::StreamRef stream) {
  const auto bytes = nvinfer::byte_size(tensor_.dtype, array.shape.volume());
  const auto* const data = static_cast<const std::byte*>(array.data);
  const auto ahead = ahead_of_ == data && data != nullptr ? std::min(ahead_, bytes) : 0;
  forget_ahead();
  lent_ = false;
  mapped_bytes_ = 0;
  if (tensor_.on_host) {
    values_.reserve(std::max<std::size_t>(bytes, 1));  // an address even for no values
    values_.resize(bytes);
    if (array.place == Place::host) {
      std::copy_n(data, bytes, values_.begin());
    } else {
      cuda::copy_to_host(values_.data(), data, bytes, stream);
      stream.synchronize();
    }
    return {values_.data()};
  }
  if (array.place == Place::device) {
    if (bytes > 0 && reinterpret_cast<std::uintptr_t>(data) % tensor_alignment == 0) {
      return {const_cast<std::byte*>(data)};  // only read
    }
    const bool moved = grow_buffer(bytes);
    cuda::copy_on_device(buffer_.data(), data, bytes, stream);
    return {buffer_.data(), moved};
  }
  if (bytes <= mapped_limit_) {
    const bool staging_moved = grow_staging(bytes);
    const bool buffer_moved = grow_buffer(bytes);
    std::memcpy(staging_.data(), data, bytes);
    mapped_bytes_ = bytes;
    return {staging_.device_data(), staging_moved || buffer_moved};
  }
  const bool buffer_moved = grow_buffer(bytes);
  const bool staging_moved = upload(data, buffer_moved ? 0 : ahead, bytes, stream);
  return {buffer_.data(), buffer_moved || staging_moved};
}

bool InputSlot::copy_ahead(const std::byte* data, std::size_t begin, std::size_t end,
                           std::size_t capacity, cuda::StreamRef stream) {
  const bool moved = grow_buffer(capacity);
  cuda::copy_to_device(static_cast<std::byte*>(buffer_.data()) + begin, data + begin, end - begin,
                       stream);
  ahead_of_ = data;
  ahead_ = end;
  return moved;
}

bool InputSlot::pad_ahead(const std::byte* data, std::size_t end, std::size_t capacity,
                          cuda::StreamRef stream) {
  const auto ahead = ahead_of_ == data ? ahead_ : 0;
  const bool moved = copy_ahead(data, ahead, end, capacity, stream);
  auto* const first = static_cast<std::byte*>(buffer_.data());
  while (ahead_ < capacity) {
    const auto bytes = std::min(end, capacity - ahead_);
    cuda::copy_on_device(first + ahead_, first, bytes, stream);
    ahead_ += bytes;
  }
  return moved;
}

// Without the bytes before `begin`. Like the two below, returns whether memory that captured work
// may use was replaced.
bool InputSlot::upload(const std::byte* data, std::size_t begin, std::size_t end,
                       cuda::StreamRef stream) {
  auto* const target = static_cast<std::byte*>(buffer_.data()) + begin;
  data += begin;
  const auto bytes = end - begin;
  lent_ = cuda::is_pinned(data);
  if (lent_) {
    cuda::copy_to_device(target, data, bytes, stream);
    return false;
  }
  const bool moved = grow_staging(bytes);
  auto* const staged = static_cast<std::byte*>(staging_.data());
  // The GPU fetches one piece while the next is copied.
  copies_.copy(staged, data, bytes, [&](std::size_t first, std::size_t count) {
    cuda::copy_to_device(target + first, staged + first, count, stream);
  });
  return moved;
}

void InputSlot::queue_copy(cuda::StreamRef stream) const {
  cuda::copy_to_device(buffer_.data(), staging_.data(), mapped_bytes_, stream);
}

bool InputSlot::grow_buffer(std::size_t bytes) {
  if (buffer_.data() == nullptr) {
    buffer_ = cuda::DeviceBuffer(device_, bytes);
    return false;
  }
  if (bytes <= buffer_.size()) return false;
  buffer_.grow(bytes);
  return true;
}

bool InputSlot::grow_staging(std::size_t bytes) {
  if (staging_.data() != nullptr && bytes <= staging_.size()) return false;
  const bool moved = staging_.data() != nullptr;
  staging_ = cuda::PinnedBuffer(device_, std::bit_ceil(std::max(bytes, min_staging_bytes)),
                                cuda::HostMemory::mapped);
  return moved;
}

}  // namespace fasttrt::engine
