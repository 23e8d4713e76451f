#include "engine/input_slot.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace fasttrt::engine {
namespace {

// The least to lock, so that memory for small arrays is seldom replaced.
constexpr std::size_t least_staging = std::size_t{32} << 10;

}  // namespace

InputSlot::InputSlot(std::shared_ptr<cuda::PrimaryContext> device, CopyPool& copies,
                     const IoTensor& tensor, std::size_t mapped_limit)
    : device_(std::move(device)), copies_(copies), tensor_(tensor), mapped_limit_(mapped_limit) {}

void* InputSlot::stage(const InputArray& array, cuda::StreamRef stream, bool& moved) {
  const auto bytes = nvinfer::byte_size(tensor_.dtype, array.shape.volume());
  const auto* const data = static_cast<const std::byte*>(array.data);
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
    return values_.data();
  }
  if (array.place == Place::device) {
    if (bytes > 0 && reinterpret_cast<std::uintptr_t>(data) % tensor_alignment == 0) {
      return const_cast<std::byte*>(data);  // only read
    }
    grow_buffer(bytes, moved);
    cuda::copy_on_device(buffer_.data(), data, bytes, stream);
    return buffer_.data();
  }
  if (bytes <= mapped_limit_) {
    grow_staging(bytes, moved);
    grow_buffer(bytes, moved);
    std::memcpy(staging_.data(), data, bytes);
    mapped_bytes_ = bytes;
    return staging_.device_data();
  }
  grow_buffer(bytes, moved);
  upload(data, bytes, stream, moved);
  return buffer_.data();
}

void InputSlot::upload(const std::byte* data, std::size_t bytes, cuda::StreamRef stream,
                       bool& moved) {
  lent_ = cuda::is_pinned(data);
  if (lent_) {
    cuda::copy_to_device(buffer_.data(), data, bytes, stream);
    return;
  }
  grow_staging(bytes, moved);
  auto* const staged = static_cast<std::byte*>(staging_.data());
  auto* const target = static_cast<std::byte*>(buffer_.data());
  // The GPU fetches one piece while the next is copied.
  copies_.copy(staged, data, bytes, [&](std::size_t begin, std::size_t count) {
    cuda::copy_to_device(target + begin, staged + begin, count, stream);
  });
}

void InputSlot::queue_copy(cuda::StreamRef stream) const {
  cuda::copy_to_device(buffer_.data(), staging_.data(), mapped_bytes_, stream);
}

void InputSlot::grow_buffer(std::size_t bytes, bool& moved) {
  if (buffer_.data() == nullptr) {
    buffer_ = cuda::DeviceBuffer(device_, bytes);
  } else if (bytes > buffer_.size()) {
    moved = true;
    buffer_.grow(bytes);
  }
}

void InputSlot::grow_staging(std::size_t bytes, bool& moved) {
  if (staging_.data() != nullptr && bytes <= staging_.size()) return;
  moved = moved || staging_.data() != nullptr;
  staging_ = cuda::PinnedBuffer(device_, std::bit_ceil(std::max(bytes, least_staging)),
                                cuda::HostMemory::mapped);
}

}  // namespace fasttrt::engine
