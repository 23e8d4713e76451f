#include "bindings/run_arguments.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "bindings/capsule.hpp"
#include "bindings/device_array.hpp"
#include "bindings/gil.hpp"
#include "bindings/python_function.hpp"
#include "bindings/text.hpp"
#include "common/error.hpp"
#include "engine/nibbles.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::InputArray;
using engine::OutputArray;
using engine::Place;

// The target where a library gives an array without elements no address: a null one is none.
void* target_of(void* data) {
  alignas(engine::tensor_alignment) static std::byte no_elements;
  return data != nullptr ? data : &no_elements;
}

// Of a result that is no longer used.
void free_buffer(void* object) {
  const std::unique_ptr<engine::HostBuffer> buffer(static_cast<engine::HostBuffer*>(object));
  if (!buffer->is_pinned()) return;
  const GilRelease release;  // freeing may wait for the GPU
  *buffer = engine::HostBuffer();
}

}  // namespace

RunArguments::RunArguments(int device, const std::vector<Binding>& inputs,
                           const std::vector<Binding>& outputs, const Given& given,
                           std::optional<CUstream_st*> stream, SpareStream& spare)
    : device_(device),
      input_bindings_(inputs),
      output_bindings_(outputs),
      order_(device, stream, spare),
      outputs_(outputs.size()),
      targets_(outputs.size()) {
  if (given.arrays.size() != inputs.size()) {
    throw InputError("expected " + std::to_string(inputs.size()) + " inputs, got " +
                     std::to_string(given.arrays.size()));
  }
  std::ranges::fill(targets_, py::object(py::none()));
  if (!given.out.is_none()) {
    const auto out = py::reinterpret_borrow<py::sequence>(given.out);
    if (out.size() != outputs.size()) {
      throw InputError("out= must have " + std::to_string(outputs.size()) + " entries, got " +
                       std::to_string(out.size()));
    }
    for (std::size_t i = 0; i < targets_.size(); ++i) targets_[i] = out[i];
  }
  std::vector<py::object> objects;
  objects.reserve(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) objects.emplace_back(given.arrays[i]);
  order_.choose(objects, targets_);
  inputs_.reserve(inputs.size());
  packed_.reserve(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) add_input(inputs[i], objects[i]);
  const bool on_gpu = std::ranges::any_of(
      inputs_, [](const InputArray& array) { return array.place == Place::device; });
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    outputs_[i].place = on_gpu ? Place::device : Place::host;
    if (!targets_[i].is_none()) add_target(i);
  }
  check_apart();
}

ArrayView RunArguments::look(const std::string& name, const py::object& object,
                             std::optional<nvinfer::DataType> expected) const {
  const auto stream = order_.stream();
  const auto consumer = stream ? std::optional(stream->handle()) : std::nullopt;
  return view(name, object, consumer, expected);
}

void RunArguments::check_device(const std::string& name, const ArrayView& array) const {
  if (array.place == Place::host || array.shape.volume() == 0) return;
  const int ordinal = array.device >= 0 ? array.device : cuda::device_of(array.data).value_or(-1);
  if (ordinal == device_) return;
  throw InputError(name + ": expected an array on cuda:" + std::to_string(device_) +
                   ", where the engine is, got one " +
                   (ordinal < 0 ? "in unknown memory" : "on cuda:" + std::to_string(ordinal)));
}

py::object RunArguments::make_contiguous(const std::string& name, const ArrayView& array,
                                         const py::object& object) {
  auto made = array.framework == Framework::numpy
                  ? py::object(py::array::ensure(object, plain_array_flags))
                  : to_contiguous(object);
  if (!made) throw OutOfMemoryError(name + ": no memory for a contiguous copy");
  if (!made.is_none()) return made;
  throw InputError(name + ": expected a C-contiguous array, got a strided " + type_name(object) +
                   ", which fasttrt cannot copy on the GPU");
}

void RunArguments::add_input(const Binding& binding, const py::object& object) {
  const auto& name = binding.tensor.name;
  const auto dtype = binding.tensor.dtype;
  auto array = look(name, object, dtype);
  if (!array.contiguous) array = look(name, make_contiguous(name, array, object), dtype);
  check_device(name, array);
  order_.add(array, object);
  if (array.place == Place::device && like_.ptr() == nullptr) {
    like_ = object;
    exchange_ = array.exchange;
  }
  const void* data = array.data;
  if (binding.is_packed() && !array.packed) {
    const auto count = static_cast<std::size_t>(array.shape.volume());
    packed_.push_back(engine::pack_nibbles({static_cast<const std::byte*>(array.data), count}));
    data = packed_.back().data();
  }
  inputs_.push_back({data, array.shape, array.place});
  owners_.push_back(std::move(array.owner));
}

void RunArguments::add_target(std::size_t index) {
  const auto& binding = output_bindings_[index];
  const auto& object = targets_[index];
  const auto name = binding.tensor.name + ": out=";
  const auto check_dtype = [&](const py::dtype& dtype) {
    if (dtype.equal(binding.dtype)) return;
    throw InputError(name + " must have dtype " + text_of(binding.dtype) + ", got " +
                     text_of(dtype));
  };
  if (py::isinstance<py::array>(object)) {
    check_dtype(py::reinterpret_borrow<py::array>(object).dtype());
  } else if (!py::hasattr(object, "__dlpack__") &&
             !py::hasattr(object, "__cuda_array_interface__")) {
    throw InputError(name + " must be a numpy array or an array on the GPU, got " +
                     type_name(object));
  }
  auto array = look(name, object, std::nullopt);
  check_dtype(numpy_dtype(array.dtype));
  if (!array.contiguous || array.read_only) {
    throw InputError(name + " must be C-contiguous, aligned and writeable");
  }
  if (binding.is_packed() && !array.packed) {
    throw InputError(name + " does not take four-bit types");
  }
  check_device(name, array);
  order_.add(array, object);
  auto& output = outputs_[index];
  output.target = target_of(array.data);
  output.shape = array.shape;
  output.place = array.place;
  owners_.push_back(std::move(array.owner));
}

// Two results in the same bytes would leave one of them wrong, and so would a result in the bytes
// of an input on the GPU, which is read where it is.
void RunArguments::check_apart() const {
  struct Range {
    const std::byte* begin;
    const std::byte* end;
    [[nodiscard]] bool overlaps(const Range& other) const {
      return std::max(begin, other.begin) < std::min(end, other.end);
    }
  };
  const auto range = [](const void* data, const engine::IoTensor& tensor,
                        const nvinfer::Dims& shape) {
    const auto* const begin = static_cast<const std::byte*>(data);
    return Range{begin, begin + nvinfer::byte_size(tensor.dtype, shape.volume())};
  };
  const auto refuse = [](const std::string& a, const std::string& b) {
    throw InputError("out= gives " + a + " and " + b + " the same memory");
  };
  for (std::size_t a = 0; a < outputs_.size(); ++a) {
    if (outputs_[a].target == nullptr) continue;
    const auto& tensor = output_bindings_[a].tensor;
    const auto target = range(outputs_[a].target, tensor, outputs_[a].shape);
    for (std::size_t b = a + 1; b < outputs_.size(); ++b) {
      const auto& other = output_bindings_[b].tensor;
      if (outputs_[b].target != nullptr &&
          target.overlaps(range(outputs_[b].target, other, outputs_[b].shape))) {
        refuse(tensor.name, other.name);
      }
    }
    for (std::size_t b = 0; b < inputs_.size(); ++b) {
      const auto& other = input_bindings_[b].tensor;
      if (inputs_[b].place == Place::device &&
          target.overlaps(range(inputs_[b].data, other, inputs_[b].shape))) {
        refuse(tensor.name, other.name);
      }
    }
  }
}

bool RunArguments::must_wait() const noexcept {
  return !order_.is_complete() || std::ranges::any_of(outputs_, [](const OutputArray& output) {
    return output.place == Place::device && output.target == nullptr;  // a DeviceArray
  });
}

bool RunArguments::wants_shapes() const noexcept {
  return std::ranges::any_of(outputs_, [](const OutputArray& output) {
    return output.place == Place::device && output.target == nullptr;
  });
}

void RunArguments::allocate(const std::vector<nvinfer::Dims>& shapes) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    auto& output = outputs_[i];
    if (output.place != Place::device || output.target != nullptr || !shapes[i].known()) continue;
    const auto dtype = output_bindings_[i].tensor.dtype;
    if (exchange_ != nullptr) {
      auto made = dlpack::allocate_like(*exchange_, dtype, shapes[i], device_);
      targets_[i] = std::move(made.array);
      output.target = target_of(made.data);
    } else {
      auto made =
          empty_like_framework(like_, shape_tuple(shapes[i]), output_bindings_[i].dtype, device_);
      if (made.is_none()) continue;  // the run makes a DeviceArray
      output.target = target_of(look(output_bindings_[i].tensor.name, made, dtype).data);
      targets_[i] = std::move(made);
    }
    output.shape = shapes[i];
    owners_.push_back(targets_[i]);
  }
}

py::object RunArguments::to_object(std::size_t index) {
  auto& output = outputs_[index];
  const auto& binding = output_bindings_[index];
  if (!targets_[index].is_none()) return targets_[index];
  if (output.place == Place::device) {
    auto array = make_device_array(std::move(output.device), binding.tensor.dtype, output.shape);
    return to_framework(array, like_);
  }
  const std::vector<py::ssize_t> shape(output.shape.begin(), output.shape.end());
  if (binding.is_packed()) {
    auto array = py::array(binding.dtype, shape);
    const auto count = static_cast<std::size_t>(output.shape.volume());
    engine::unpack_nibbles({static_cast<const std::byte*>(output.data()), (count + 1) / 2},
                           {static_cast<std::byte*>(array.mutable_data()), count},
                           binding.tensor.dtype == nvinfer::DataType::int4);
    return array;
  }
  void* const data = output.data();
  auto buffer = std::make_unique<engine::HostBuffer>(std::move(output.host));
  return py::array(binding.dtype, shape, data, make_owner(std::move(buffer), &free_buffer));
}

py::list RunArguments::results() {
  py::list list;
  for (std::size_t i = 0; i < outputs_.size(); ++i) list.append(to_object(i));
  return list;
}

}  // namespace fasttrt::bindings
