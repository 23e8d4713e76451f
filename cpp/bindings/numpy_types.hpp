// TensorRT's types and shapes as numpy has them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>

#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::bindings {

// numpy's flags of an array in C order, aligned to its elements; pybind11 has no public name for
// the second.
inline constexpr int plain_array_flags =
    static_cast<int>(pybind11::array::c_style) |
    static_cast<int>(pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_);

// numpy's own dtypes, and those of ml_dtypes. A new reference to a cached object.
[[nodiscard]] pybind11::dtype numpy_dtype(nvinfer::DataType type);
// None if TensorRT lacks it, or if its bytes are in the other order.
[[nodiscard]] std::optional<nvinfer::DataType> to_data_type(const pybind11::dtype& dtype);

[[nodiscard]] pybind11::tuple shape_tuple(const nvinfer::Dims& shape);

}  // namespace fasttrt::bindings
