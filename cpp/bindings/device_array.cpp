#include "bindings/device_array.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/array_view.hpp"
#include "bindings/capsule.hpp"
#include "bindings/dlpack.hpp"
#include "bindings/gil.hpp"
#include "bindings/python_function.hpp"
#include "bindings/text.hpp"
#include "common/error.hpp"
#include "cuda/memory.hpp"
#include "cuda/stream.hpp"
#include "engine/nibbles.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using cuda::DeviceBuffer;
using nvinfer::DataType;
using nvinfer::Dims;

// Its work follows what other libraries queued in their default streams, which mostly are this one.
const cuda::StreamRef legacy_stream(static_cast<CUstream_st*>(nullptr));

constexpr int first_foreign_type = 256;  // numpy's number for the first type that is not its own

py::dtype to_dtype(py::handle object) {
  py::module_::import("ml_dtypes");  // numpy then knows its names
  try {
    return py::dtype::from_args(py::reinterpret_borrow<py::object>(object));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError) && !error.matches(PyExc_ValueError)) throw;
    throw InputError("dtype: expected a numpy dtype or its name, got " + text_of(py::repr(object)));
  }
}

DataType to_tensor_type(const py::dtype& dtype) {
  if (const auto type = to_data_type(dtype)) return *type;
  throw InputError("dtype: TensorRT has no " + text_of(dtype));
}

std::vector<std::int64_t> to_sizes(py::handle shape) {
  try {
    if (py::isinstance<py::int_>(shape)) return {shape.cast<std::int64_t>()};
    return shape.cast<std::vector<std::int64_t>>();
  } catch (const py::cast_error&) {
    throw InputError("shape: expected integers, got " + text_of(py::repr(shape)));
  }
}

Dims to_dims(py::handle shape) {
  const auto sizes = to_sizes(shape);
  Dims dims(static_cast<int>(std::min<std::size_t>(sizes.size(), nvinfer::max_rank + 1)));
  std::int64_t bits = 128;  // of the largest element
  bool possible = dims.rank() >= 0;
  for (int axis = 0; possible && axis < dims.rank(); ++axis) {
    dims[axis] = sizes[static_cast<std::size_t>(axis)];
    possible = dims[axis] >= 0 &&
               !__builtin_mul_overflow(bits, std::max<std::int64_t>(dims[axis], 1), &bits);
  }
  if (possible) return dims;
  throw InputError("shape: expected up to " + std::to_string(nvinfer::max_rank) +
                   " dimensions of size 0 or more, got " + text_of(py::repr(shape)));
}

int to_ordinal(py::handle device) { return gpu_ordinal(device).cast<int>(); }

// In numpy's own memory. Throws OutOfMemoryError, where numpy raises an error of its own.
py::array make_array(const py::dtype& dtype, const std::vector<py::ssize_t>& sizes) {
  try {
    return {dtype, sizes};
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_MemoryError)) throw;
    throw OutOfMemoryError("the host has no memory for an array: " + text_of(error.value()));
  }
}

DeviceBuffer make_buffer(int device, std::size_t bytes) {
  return {cuda::PrimaryContext::retain(device), bytes};
}

std::span<std::byte> bytes_of(py::array& array) {
  return {static_cast<std::byte*>(array.mutable_data()), static_cast<std::size_t>(array.nbytes())};
}

// No GPU: numpy's own memory, so that code written for pinned memory runs everywhere.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as Python has them
py::array empty_pinned(py::handle shape, py::handle dtype, py::handle device) {
  const int ordinal = to_ordinal(device);
  const auto type = to_dtype(dtype);
  const auto dims = to_dims(shape);
  const std::vector<py::ssize_t> sizes(dims.begin(), dims.end());
  if (type.attr("hasobject").cast<bool>())
    throw InputError("dtype: expected numbers, got " + text_of(type));
  std::unique_ptr<cuda::PinnedBuffer> buffer;
  {
    const GilRelease release;  // no Python object is touched
    if (cuda::driver_problem().empty()) {
      buffer = std::make_unique<cuda::PinnedBuffer>(
          cuda::PrimaryContext::retain(ordinal),
          static_cast<std::size_t>(dims.volume()) * static_cast<std::size_t>(type.itemsize()));
    }
  }
  if (buffer == nullptr) return make_array(type, sizes);
  void* const data = buffer->data();
  const auto owner = make_owner(std::move(buffer), [](void* held) {
    const GilRelease release;  // freeing may wait for the GPU
    delete static_cast<cuda::PinnedBuffer*>(held);
  });
  return {type, sizes, data, owner};
}

}  // namespace

DeviceArray::DeviceArray(DeviceBuffer buffer, DataType dtype, const Dims& shape)
    : buffer_(std::make_shared<const DeviceBuffer>(std::move(buffer))),
      dtype_(dtype),
      shape_(shape) {}

DeviceArray::~DeviceArray() {
  if (buffer_.use_count() != 1) return;
  const GilRelease release;  // freeing waits for work that uses it
  buffer_.reset();
}

std::size_t DeviceArray::bytes() const noexcept {
  return nvinfer::byte_size(dtype_, shape_.volume());
}

int DeviceArray::device() const noexcept { return buffer_->context()->ordinal(); }

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as Python has them
DeviceArray DeviceArray::empty(py::handle shape, py::handle dtype, py::handle device) {
  const int ordinal = to_ordinal(device);
  const auto dims = to_dims(shape);
  const auto type = to_tensor_type(to_dtype(dtype));
  DeviceBuffer buffer;
  {
    const GilRelease release;  // no Python object is touched
    buffer = make_buffer(ordinal, nvinfer::byte_size(type, dims.volume()));
  }
  return {std::move(buffer), type, dims};
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as Python has them
DeviceArray DeviceArray::from_numpy(py::handle object, py::handle device) {
  const int ordinal = to_ordinal(device);
  if (!py::isinstance<py::array>(object)) {
    throw InputError("array: expected a numpy array, got " + type_name(object));
  }
  const py::array array = host_array("array", object);  // which refuses masks
  const auto type = to_tensor_type(array.dtype());
  const auto dims = to_dims(array.attr("shape"));
  auto plain = py::array::ensure(array, py::array::c_style);
  if (!plain) throw OutOfMemoryError("no host memory for a contiguous copy");
  const auto* const data = static_cast<const std::byte*>(plain.data());
  const auto bytes = nvinfer::byte_size(type, dims.volume());
  DeviceBuffer buffer;
  {
    const GilRelease release;  // `plain` owns the memory that is read
    std::vector<std::byte> packed;
    if (nvinfer::bits_per_element(type) == 4) {
      packed = engine::pack_nibbles({data, static_cast<std::size_t>(dims.volume())});
    }
    buffer = make_buffer(ordinal, bytes);
    const cuda::ContextGuard guard(*buffer.context());
    cuda::copy_to_device(buffer.data(), packed.empty() ? data : packed.data(), bytes,
                         legacy_stream);
    legacy_stream.synchronize();
  }
  return {std::move(buffer), type, dims};
}

py::array DeviceArray::to_numpy() const {
  const bool is_packed = nvinfer::bits_per_element(dtype_) == 4;
  const std::vector<py::ssize_t> sizes(shape_.begin(), shape_.end());
  auto array = make_array(numpy_dtype(dtype_), sizes);
  const auto target = bytes_of(array);
  {
    const GilRelease release;  // `array` owns the memory that is written, and nobody else has it
    std::vector<std::byte> packed(is_packed ? bytes() : 0);
    const cuda::ContextGuard guard(*buffer_->context());
    cuda::copy_to_host(is_packed ? packed.data() : target.data(), data(), bytes(), legacy_stream);
    legacy_stream.synchronize();
    if (is_packed) engine::unpack_nibbles(packed, target, dtype_ == DataType::int4);
  }
  return array;
}

DeviceArray DeviceArray::clone() const {
  const GilRelease release;  // no Python object is touched
  DeviceBuffer buffer(buffer_->context(), bytes());
  const cuda::ContextGuard guard(*buffer.context());
  cuda::copy_on_device(buffer.data(), data(), bytes(), legacy_stream);
  legacy_stream.synchronize();
  return {std::move(buffer), dtype_, shape_};
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as Python has them
py::object DeviceArray::dlpack(const py::object& stream, const py::object& max_version,
                               const py::object& device, std::optional<bool> copy) const {
  using Pair = std::pair<int, int>;
  std::ignore = stream;  // the contents are complete, so no stream has to wait for them
  const bool versioned = !max_version.is_none() && max_version.cast<Pair>().first >= 1;
  const Pair own{static_cast<int>(dlpack::DeviceType::cuda), this->device()};
  const Pair wanted = device.is_none() ? own : device.cast<Pair>();
  if (wanted.first == static_cast<int>(dlpack::DeviceType::cpu)) {
    if (copy == false) throw py::buffer_error("a DeviceArray must be copied to get to the host");
    return to_numpy().attr("__dlpack__")();
  }
  if (wanted != own) {
    throw py::buffer_error("a DeviceArray on cuda:" + std::to_string(own.second) +
                           " does not copy itself to DLPack device " + text_of(device));
  }
  const auto buffer = copy == true ? clone().buffer_ : buffer_;
  return dlpack::to_capsule({buffer, buffer->data(), dtype_, shape_, own.second, copy == true},
                            versioned);
}

py::dict DeviceArray::cuda_array_interface() const {
  const auto dtype = numpy_dtype(dtype_);
  // numpy writes these as so many bytes of anything ("<V2"), and so would every reader take them.
  if (dtype.num() >= first_foreign_type) {
    throw py::attribute_error("__cuda_array_interface__ has no type for " + text_of(dtype) +
                              "; use DLPack");
  }
  py::dict interface;
  interface["version"] = 3;
  interface["shape"] = shape_tuple(shape_);
  interface["typestr"] = dtype.attr("str");
  interface["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(data()), false);
  interface["strides"] = py::none();
  interface["stream"] = py::none();
  return interface;
}

py::object make_device_array(DeviceBuffer buffer, DataType dtype, const Dims& shape) {
  return py::cast(DeviceArray(std::move(buffer), dtype, shape));
}

void register_device_array(py::module_& module) {
  py::class_<DeviceArray>(module, "DeviceArray", py::is_final(), R"(An array in GPU memory.

For those who use no array library of the GPU's. Others take it without a copy through DLPack
(torch.from_dlpack, cupy.from_dlpack, jax.dlpack.from_dlpack, ...) or, but for bfloat16 and the types
of 8 and 4 bits that numpy has no names for, through __cuda_array_interface__. The memory lives as
long as any of them holds it.)")
      .def_static("empty", &DeviceArray::empty, py::arg("shape"), py::arg("dtype"),
                  py::arg("device") = 0, "An array of undefined contents on GPU number `device`.")
      .def_static("from_numpy", &DeviceArray::from_numpy, py::arg("array"), py::arg("device") = 0,
                  "A copy on GPU number `device`, complete when this returns. Any strides will do.")
      .def("numpy", &DeviceArray::to_numpy, "A copy in host memory, complete when this returns.")
      .def("__dlpack__", &DeviceArray::dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__",
           [](const DeviceArray& self) {
             return std::pair(static_cast<int>(dlpack::DeviceType::cuda), self.device());
           })
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::cuda_array_interface)
      .def("__array__",
           [](const DeviceArray& /*self*/, const py::args& /*args*/,
              const py::kwargs& /*kwargs*/) -> py::object {
             throw py::type_error("a DeviceArray is in GPU memory; copy it with .numpy()");
           })
      .def_property_readonly("shape",
                             [](const DeviceArray& self) { return shape_tuple(self.shape()); })
      .def_property_readonly(
          "dtype", [](const DeviceArray& self) { return numpy_dtype(self.dtype()); },
          "numpy's, or that of ml_dtypes.")
      .def_property_readonly("nbytes", &DeviceArray::bytes, "Two elements of 4 bits share a byte.")
      .def_property_readonly("device", &DeviceArray::device, "The GPU's number.")
      .def_property_readonly(
          "ptr",
          [](const DeviceArray& self) { return reinterpret_cast<std::uintptr_t>(self.data()); },
          "The address in GPU memory.")
      .def("__len__",
           [](const DeviceArray& self) {
             if (self.shape().rank() == 0)
               throw py::type_error("a DeviceArray without dimensions has no length");
             return self.shape()[0];
           })
      .def("__repr__", [](const DeviceArray& self) {
        return "<fasttrt.DeviceArray " + std::string(nvinfer::dtype_name(self.dtype())) + " " +
               self.shape().str() + " on cuda:" + std::to_string(self.device()) + ">";
      });
  module.def("empty_pinned", &empty_pinned, py::arg("shape"), py::arg("dtype"),
             py::arg("device") = 0, R"(A numpy array of undefined contents in page-locked memory.

The GPUs copy from and to it faster, and without the host's waiting. Where no GPU can be used it is
an ordinary array, so that code written with it runs everywhere.)");
}

}  // namespace fasttrt::bindings
