// A Python object of any array library as the core sees it: an address, a shape, a place.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>

#include "bindings/dlpack.hpp"
#include "bindings/numpy_types.hpp"
#include "engine/array.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"

struct CUstream_st;

namespace fasttrt::bindings {

// A stream as Python gives it: a CUstream's address.
[[nodiscard]] inline CUstream_st* as_stream(std::uintptr_t handle) noexcept {
  return reinterpret_cast<CUstream_st*>(handle);  // NOLINT(performance-no-int-to-ptr)
}

// How an array gave its memory: that decides whose memory a result is made in.
enum class Framework {
  numpy,
  exchange,        // DLPack's C functions: PyTorch from 2.10
  dlpack,          // __dlpack__: CuPy, JAX, older PyTorch; fasttrt's own DeviceArray
  cuda_interface,  // __cuda_array_interface__: Numba, RMM
};

struct ArrayView {
  void* data = nullptr;  // null only for an empty array
  nvinfer::Dims shape;
  nvinfer::DataType dtype = nvinfer::DataType::float32;
  engine::Place place = engine::Place::host;
  int device = -1;          // ordinal; -1 if on the host, or if only cuda::device_of(data) can tell
  bool contiguous = false;  // in C order, and aligned to its elements
  bool read_only = false;
  bool packed = false;  // elements of 4 bits share bytes; numpy gives each a byte
  Framework framework = Framework::numpy;
  const dlpack::ExchangeApi* exchange = nullptr;  // of Framework::exchange, for results
  // Work that makes the contents is queued here, and must come first: the framework's current
  // stream, or the one that the array names. None: nothing to wait for, or the array's library has
  // ordered it before what the consumer's stream does next. Null is the legacy default stream.
  std::optional<CUstream_st*> stream;
  pybind11::object owner;  // keeps the memory; let go of it with the GIL
};

// name: the tensor's, for messages. consumer: the stream that will use the array, for __dlpack__ of
// arrays on a GPU to order its work before (without one: the legacy default stream). expected: the
// dtype that the tensor has. Throws InputError for what is no array, or none that can be used.
[[nodiscard]] ArrayView view(const std::string& name, pybind11::handle object,
                             std::optional<CUstream_st*> consumer = std::nullopt,
                             std::optional<nvinfer::DataType> expected = std::nullopt);

// _core.describe_array(name, array): what view() finds, for tests.
void register_array_view(pybind11::module_& module);

}  // namespace fasttrt::bindings
