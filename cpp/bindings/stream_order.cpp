#include "bindings/stream_order.hpp"

#include <pybind11/numpy.h>

#include <cstdint>

#include "bindings/python_function.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::Place;

// Of an array with DLPack's C functions, if it is on a GPU.
std::optional<cuda::StreamRef> exchange_stream(const py::object& object) {
  try {
    const auto array = view("", object);
    if (array.place == Place::device && array.stream) return cuda::StreamRef(*array.stream);
  } catch (const InputError&) {
    return std::nullopt;  // which is reported with the tensor's name in a moment
  }
  return std::nullopt;
}

}  // namespace

StreamOrder::StreamOrder(int device, std::optional<CUstream_st*> callers, SpareStream& spare)
    : device_(device), spare_(spare) {
  if (!callers) return;
  stream_ = *callers;
  is_complete_ = true;
  is_callers_ = true;
}

void StreamOrder::choose(const std::vector<py::object>& arrays,
                         const std::vector<py::object>& targets) {
  if (is_callers_) return;
  for (const auto* list : {&arrays, &targets}) {
    for (const auto& object : *list) {
      if (object.is_none() || py::isinstance<py::array>(object)) continue;
      if (dlpack::exchange_api(object) != nullptr) {
        stream_ = exchange_stream(object);
        is_complete_ = stream_.has_value();
        if (is_complete_) return;
        continue;
      }
      if (!is_device_array(object).cast<bool>()) continue;
      const auto current = current_stream(object);
      is_complete_ = current.has_value();
      stream_ = is_complete_ ? cuda::StreamRef(*current) : spare_.get();
      ordered_type_ = is_complete_ ? Py_TYPE(object.ptr()) : nullptr;
      return;
    }
  }
}

std::optional<CUstream_st*> StreamOrder::current_stream(const py::object& object) const {
  const auto current = framework_stream(object, device_);
  if (current.is_none()) return std::nullopt;
  return as_stream(current.cast<std::uintptr_t>());
}

void StreamOrder::add(const ArrayView& array, const py::object& object) {
  if (array.stream && stream_ && *array.stream != stream_->handle()) {
    spare_.resources().order(cuda::StreamRef(*array.stream), *stream_);
  }
  if (is_callers_ || !is_complete_ || array.place == Place::host) return;
  if (array.exchange == nullptr && Py_TYPE(object.ptr()) == ordered_type_) return;
  const auto later = array.exchange != nullptr ? array.stream : current_stream(object);
  is_complete_ = later && stream_ && *later == stream_->handle();
}

}  // namespace fasttrt::bindings
