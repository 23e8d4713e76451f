// The arrays of a run, as the core sees them: C-contiguous, of the tensor's dtype.
#pragma once

#include <cstdint>

#include "cuda/memory.hpp"
#include "engine/host_buffer.hpp"
#include "nvinfer/dims.hpp"

namespace fasttrt::engine {

// Whose memory an array is in; device: that of the engine's own GPU.
enum class Place { host, device };

// TensorRT wants device memory at multiples of this.
inline constexpr std::uintptr_t tensor_alignment = 256;

struct InputArray {
  const void* data = nullptr;
  nvinfer::Dims shape;
  Place place = Place::host;
};

// Where the engine reads or writes an array.
struct Placement {
  void* address = nullptr;
  bool moved = false;  // memory of a slot's own, which captured work may use, was replaced
};

// One result: in memory of the caller's, or, where the caller gave none, in a buffer of its own.
struct OutputArray {
  nvinfer::Dims shape;     // of the caller's memory on the way in, of the result on the way out
  void* target = nullptr;  // the caller's memory
  Place place = Place::host;
  HostBuffer host;            // without a target, for place host
  cuda::DeviceBuffer device;  // without a target, for place device

  [[nodiscard]] void* data() const noexcept {
    if (target != nullptr) return target;
    return place == Place::host ? host.data() : device.data();
  }
};

}  // namespace fasttrt::engine
