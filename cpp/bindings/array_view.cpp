#include "bindings/array_view.hpp"

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/device_array.hpp"
#include "bindings/text.hpp"
#include "bindings/type_attribute.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using dlpack::DeviceType;
using engine::Place;
using nvinfer::DataType;
using nvinfer::Dims;
using Stream = std::optional<CUstream_st*>;

struct Request {
  const std::string& name;
  Stream consumer;
  std::optional<DataType> expected;

  [[noreturn]] void refuse(const std::string& text) const { throw InputError(name + ": " + text); }
};

// What a protocol's Python raises is bad input, but not the interrupt of a user, nor lack of
// memory.
template <class Function>
auto ask(const Request& request, py::handle object, Function function) {
  std::string reason;
  try {
    return function();
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    reason = first_line(error.what());
  } catch (const py::cast_error&) {
    reason = "an entry has the wrong type";
  } catch (const py::value_error& error) {
    reason = error.what();
  }
  request.refuse(type_name(object) + " does not give access to its memory: " + reason);
}

// How numpy converts numbers to the type that is wanted; empty if that is none of its own.
std::string cure(const Request& request, const py::dtype& found) {
  using enum DataType;
  constexpr std::array of_numpy{float32, float16, int64, int32, int8, uint8};
  constexpr std::string_view numbers("fiub");
  if (numbers.find(found.kind()) == std::string_view::npos) return "";
  if (!request.expected || std::ranges::find(of_numpy, *request.expected) == of_numpy.end()) {
    return "";
  }
  return "; convert it, as in x.astype(np." + std::string(nvinfer::dtype_name(*request.expected)) +
         ")";
}

template <class Name>
DataType check_dtype(const Request& request, std::optional<DataType> found, Name name) {
  const auto& expected = request.expected;
  if (found && (!expected || *expected == *found)) return *found;
  if (expected) {
    request.refuse("expected dtype " + std::string(nvinfer::dtype_name(*expected)) + ", got " +
                   name());
  }
  request.refuse("TensorRT has no dtype " + name());
}

Dims make_dims(const Request& request, py::ssize_t rank) {
  if (rank < 0 || rank > nvinfer::max_rank) {
    request.refuse("expected at most " + std::to_string(nvinfer::max_rank) + " dimensions, got " +
                   std::to_string(rank));
  }
  return Dims(static_cast<int>(rank));
}

// Nothing that was promised is taken on trust where it could lead outside the address space.
void check_shape(const Request& request, const ArrayView& view) {
  std::int64_t bytes = 8;  // of the largest element
  bool possible = true;
  for (const auto size : view.shape) {
    possible = possible && size >= 0 &&
               !__builtin_mul_overflow(bytes, std::max<std::int64_t>(size, 1), &bytes);
  }
  if (!possible) request.refuse("got the impossible shape " + view.shape.str());
  if (view.data == nullptr && view.shape.volume() != 0) {
    request.refuse("got no data for the shape " + view.shape.str());
  }
}

// strides and unit in bytes, or both in elements. Steps along axes of one element never happen.
bool in_c_order(const Dims& shape, const std::int64_t* strides, std::int64_t unit) {
  if (shape.volume() == 0) return true;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 1) continue;
    if (strides[axis] != unit) return false;
    unit *= shape[axis];
  }
  return true;
}

bool is_aligned(const ArrayView& view) {
  const auto bytes = static_cast<std::uintptr_t>(nvinfer::bits_per_element(view.dtype) + 7) / 8;
  return reinterpret_cast<std::uintptr_t>(view.data) % bytes == 0;
}

ArrayView of_numpy(const Request& request, const py::array& array) {
  ArrayView view;
  view.shape = make_dims(request, array.ndim());
  std::copy_n(array.shape(), view.shape.rank(), &view.shape[0]);
  const auto dtype = array.dtype();
  view.dtype = check_dtype(request, to_data_type(dtype),
                           [&] { return text_of(dtype) + cure(request, dtype); });
  view.data = const_cast<void*>(array.data());
  view.contiguous = (array.flags() & plain_array_flags) == plain_array_flags;
  view.read_only = !array.writeable();
  view.owner = array;
  return view;
}

void set_place(const Request& request, dlpack::Device device, ArrayView& view) {
  switch (device.type) {
    case DeviceType::cpu:
    case DeviceType::cuda_host: return;
    case DeviceType::cuda:
    case DeviceType::cuda_managed:
      view.place = Place::device;
      view.device = device.ordinal;
      return;
  }
  request.refuse("expected an array in host or CUDA memory, got one of " +
                 dlpack::device_name(device.type));
}

void set_tensor(const Request& request, const dlpack::Tensor& tensor, ArrayView& view) {
  set_place(request, tensor.device, view);
  view.shape = make_dims(request, tensor.rank);
  if (tensor.shape == nullptr && tensor.rank > 0) request.refuse("got no shape");
  std::copy_n(tensor.shape, view.shape.rank(), &view.shape[0]);
  view.dtype = check_dtype(request, dlpack::to_data_type(tensor.dtype),
                           [&] { return dlpack::type_name(tensor.dtype); });
  view.packed = nvinfer::bits_per_element(view.dtype) < 8;
  if (tensor.data != nullptr) view.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  check_shape(request, view);
  view.contiguous =
      is_aligned(view) && (tensor.strides == nullptr || in_c_order(view.shape, tensor.strides, 1));
}

ArrayView of_imported(const Request& request, const dlpack::ImportedTensor& loan) {
  ArrayView view;
  view.framework = Framework::dlpack;
  view.read_only = (loan.flags & dlpack::read_only_flag) != 0;
  view.owner = loan.owner;
  set_tensor(request, *loan.tensor, view);
  if (view.packed && (loan.flags & dlpack::padded_flag) != 0) {
    request.refuse("expected elements of 4 bits to share bytes, got a byte for each");
  }
  return view;
}

// PyTorch's lazy negation, of the imaginary part of a conjugate: the sign is not in the memory, and
// the table does not tell. Such a part lies between real ones, so it is only contiguous where it is
// a single element; a contiguous copy has the signs.
bool is_negated(py::handle object) {
  static constinit const AttributeName name("is_neg");
  const auto method = type_attribute(object, name);
  return method && method(object).is(py::bool_(true));
}

ArrayView of_own(const Request& request, const DeviceArray& array) {
  ArrayView view;
  view.framework = Framework::dlpack;
  view.place = Place::device;
  view.device = array.device();
  view.data = array.data();
  view.shape = array.shape();
  view.dtype = check_dtype(request, array.dtype(),
                           [&] { return std::string(nvinfer::dtype_name(array.dtype())); });
  view.contiguous = true;
  view.packed = nvinfer::bits_per_element(view.dtype) < 8;
  return view;
}

ArrayView of_exchange(const Request& request, py::handle object, const dlpack::ExchangeApi& api) {
  const auto check = [](int code) {
    if (code != 0) throw py::error_already_set();
  };
  auto view = ask(request, object, [&] {
    if (api.borrow == nullptr) {
      dlpack::VersionedTensor* tensor = nullptr;
      check(api.from_object(object.ptr(), &tensor));
      return of_imported(request, dlpack::import_tensor(tensor));
    }
    ArrayView borrowed;
    dlpack::Tensor tensor;
    check(api.borrow(object.ptr(), &tensor));
    set_tensor(request, tensor, borrowed);
    borrowed.owner = py::reinterpret_borrow<py::object>(object);
    if (borrowed.contiguous && borrowed.shape.volume() == 1 && is_negated(object)) {
      request.refuse("got a lazily negated value; use .resolve_neg()");
    }
    return borrowed;
  });
  view.framework = Framework::exchange;
  view.exchange = &api;
  if (view.place == Place::device) {
    void* stream = nullptr;
    ask(request, object,
        [&] { check(api.current_stream(DeviceType::cuda, view.device, &stream)); });
    view.stream = static_cast<CUstream_st*>(stream);
  }
  return view;
}

// The legacy default stream is 1 there, because 0 means different things to different libraries.
py::object to_stream(Stream consumer) {
  if (!consumer) return py::none();
  return py::int_(*consumer == nullptr ? 1 : reinterpret_cast<std::uintptr_t>(*consumer));
}

ArrayView of_dlpack(const Request& request, py::handle object) {
  const auto loan = ask(request, object, [&] {
    const auto [type, ordinal] =
        object.attr("__dlpack_device__")().cast<std::pair<std::int32_t, std::int32_t>>();
    ArrayView view;
    set_place(request, {static_cast<DeviceType>(type), ordinal}, view);
    const auto stream = view.place == Place::host ? py::none() : to_stream(request.consumer);
    const auto method = object.attr("__dlpack__");
    try {
      return dlpack::import_tensor(
          method(py::arg("stream") = stream, py::arg("max_version") = py::make_tuple(1, 0)));
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      return dlpack::import_tensor(method(py::arg("stream") = stream));  // from before DLPack 1.0
    }
  });
  return of_imported(request, loan);
}

Stream producer_stream(const Request& request, const py::dict& interface) {
  const auto stream = interface.attr("get")("stream");
  if (stream.is_none()) return std::nullopt;
  const auto handle = stream.cast<std::uintptr_t>();
  if (handle == 0) request.refuse("__cuda_array_interface__ has the ambiguous stream 0");
  return handle == 1 ? nullptr : as_stream(handle);
}

ArrayView of_interface(const Request& request, const py::dict& interface) {
  const auto version = interface["version"].cast<int>();
  if (version != 2 && version != 3) {
    request.refuse("expected __cuda_array_interface__ 2 or 3, got " + std::to_string(version));
  }
  if (!interface.attr("get")("mask").is_none()) request.refuse("got an array with a mask");
  ArrayView view;
  view.framework = Framework::cuda_interface;
  view.place = Place::device;
  const auto shape = interface["shape"].cast<std::vector<std::int64_t>>();
  view.shape = make_dims(request, std::ssize(shape));
  std::ranges::copy(shape, &view.shape[0]);
  const auto dtype = py::dtype::from_args(interface["typestr"]);
  view.dtype = check_dtype(request, to_data_type(dtype), [&] { return text_of(dtype); });
  const auto [data, read_only] = interface["data"].cast<std::pair<std::uintptr_t, bool>>();
  view.data = reinterpret_cast<void*>(data);  // NOLINT(*-int-to-ptr)
  view.read_only = read_only;
  check_shape(request, view);
  view.contiguous = is_aligned(view);
  if (const auto steps = interface.attr("get")("strides"); !steps.is_none()) {
    const auto strides = steps.cast<std::vector<std::int64_t>>();
    if (strides.size() != shape.size())
      request.refuse("expected a stride for each dimension, got " + text_of(steps));
    view.contiguous = view.contiguous && in_c_order(view.shape, strides.data(), dtype.itemsize());
  }
  view.stream = producer_stream(request, interface);
  return view;
}

const char* framework_name(Framework framework) {
  switch (framework) {
    case Framework::numpy: return "numpy";
    case Framework::exchange: return "exchange";
    case Framework::dlpack: return "dlpack";
    case Framework::cuda_interface: return "cuda_interface";
  }
  return "";
}

py::tuple describe(const std::string& name, py::handle object,
                   std::optional<std::uintptr_t> consumer) {
  Stream stream;
  if (consumer) stream = as_stream(*consumer);
  const auto array = view(name, object, stream);
  const auto address = [](const auto* data) { return reinterpret_cast<std::uintptr_t>(data); };
  return py::make_tuple(framework_name(array.framework), address(array.data),
                        shape_tuple(array.shape), numpy_dtype(array.dtype),
                        array.place == Place::host ? "host" : "device", array.device,
                        array.contiguous, array.read_only,
                        array.stream ? py::object(py::int_(address(*array.stream))) : py::none());
}

}  // namespace

ArrayView view(const std::string& name, py::handle object, Stream consumer,
               std::optional<DataType> expected) {
  const Request request{name, consumer, expected};
  if (py::isinstance<py::array>(object)) {
    return of_numpy(request, py::reinterpret_borrow<py::array>(object));
  }
  if (const auto* const api = dlpack::exchange_api(object)) {
    return of_exchange(request, object, *api);
  }
  if (py::isinstance<DeviceArray>(object)) {
    auto view = of_own(request, object.cast<const DeviceArray&>());
    view.owner = py::reinterpret_borrow<py::object>(object);
    return view;
  }
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    return of_dlpack(request, object);
  }
  if (py::hasattr(object, "__cuda_array_interface__")) {
    auto view = ask(request, object, [&] {
      return of_interface(request, object.attr("__cuda_array_interface__").cast<py::dict>());
    });
    view.owner = py::reinterpret_borrow<py::object>(object);
    return view;
  }
  request.refuse(
      "expected an array (of numpy, or one with DLPack or __cuda_array_interface__), got " +
      type_name(object));
}

void register_array_view(py::module_& module) {
  module.def("describe_array", &describe, py::arg("name"), py::arg("array"),
             py::arg("consumer") = py::none(),
             "What a run would see of an array, for tests: (kind, address, shape, dtype, place, "
             "device, contiguous, read only, stream). consumer: a stream's handle.");
}

}  // namespace fasttrt::bindings
