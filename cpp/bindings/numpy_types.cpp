#include "bindings/numpy_types.hpp"

#include <pybind11/gil_safe_call_once.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using nvinfer::DataType;
using nvinfer::Dims;

constexpr std::array all_types{
    DataType::float32, DataType::float16, DataType::int8,          DataType::int32,
    DataType::boolean, DataType::uint8,   DataType::float8_e4m3fn, DataType::bfloat16,
    DataType::int64,   DataType::int4,    DataType::float4_e2m1fn, DataType::float8_e8m0fnu,
};

struct NumpyType {
  int number = -1;  // numpy's for its own types, for the others given when ml_dtypes is imported
  DataType type = DataType::float32;
  py::dtype dtype;
};

const std::vector<NumpyType>& numpy_types() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<std::vector<NumpyType>> storage;
  return storage
      .call_once_and_store_result([] {
        const auto ml_dtypes = py::module_::import("ml_dtypes");
        std::vector<NumpyType> types;
        for (const auto type : all_types) {
          const auto name = std::string(nvinfer::dtype_name(type));
          auto dtype = py::dtype::from_args(py::getattr(ml_dtypes, name.c_str(), py::str(name)));
          types.push_back({dtype.num(), type, std::move(dtype)});
        }
        const py::dtype long_long("q");  // as long as int64, and a number of its own
        types.push_back({long_long.num(), DataType::int64, long_long});
        return types;
      })
      .get_stored();
}

}  // namespace

py::dtype numpy_dtype(DataType type) {
  return std::ranges::find(numpy_types(), type, &NumpyType::type)->dtype;
}

std::optional<DataType> to_data_type(const py::dtype& dtype) {
  const auto& types = numpy_types();
  const auto found = std::ranges::find(types, dtype.num(), &NumpyType::number);
  if (found == types.end() || dtype.byteorder() == '>') return std::nullopt;
  return found->type;
}

py::tuple shape_tuple(const Dims& shape) {
  py::tuple tuple(static_cast<std::size_t>(std::max(shape.rank(), 0)));
  for (int axis = 0; axis < shape.rank(); ++axis) {
    tuple[static_cast<std::size_t>(axis)] = shape[axis];
  }
  return tuple;
}

}  // namespace fasttrt::bindings
