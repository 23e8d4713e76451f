#include "bindings/function_runner.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/errors.hpp"
#include "bindings/function_call.hpp"
#include "bindings/gil.hpp"
#include "bindings/numpy_types.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::InputArray;
using engine::IoTensor;
using engine::OutputArray;
using nvinfer::Dims;

Dims to_dims(const std::vector<std::int64_t>& sizes) {
  if (sizes.size() > nvinfer::max_rank) return Dims(Dims::unknown_rank);
  Dims shape(static_cast<int>(sizes.size()));
  for (int axis = 0; axis < shape.rank(); ++axis)
    shape[axis] = sizes[static_cast<std::size_t>(axis)];
  return shape;
}

// One profile that takes everything, where there is none.
engine::ProfileRange any_shape(const Dims& shape) {
  engine::ProfileRange range{shape, shape, shape, {}, {}, {}};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] >= 0) continue;
    range.min[axis] = 0;
    range.opt[axis] = 1;
    range.max[axis] = std::numeric_limits<std::int32_t>::max();
  }
  return range;
}

using Sizes = std::vector<std::int64_t>;
using Described =
    std::tuple<std::string, py::dtype, Sizes, std::vector<std::tuple<Sizes, Sizes, Sizes>>>;

// None for what the core does not have.
std::optional<IoTensor> to_tensor(const Described& described) {
  const auto& [name, dtype, sizes, profiles] = described;
  const auto type = to_data_type(dtype);
  const auto shape = to_dims(sizes);
  if (!type || shape.rank() == Dims::unknown_rank) return std::nullopt;
  IoTensor tensor{name, *type, shape, false, {}};
  for (const auto& [min, opt, max] : profiles) {
    tensor.profiles.push_back({to_dims(min), to_dims(opt), to_dims(max), {}, {}, {}});
  }
  if (tensor.profiles.empty()) tensor.profiles.push_back(any_shape(shape));
  return tensor;
}

std::optional<std::vector<IoTensor>> to_tensors(const py::sequence& described) {
  std::vector<IoTensor> tensors;
  for (const auto& item : described) {
    auto tensor = to_tensor(item.cast<Described>());
    if (!tensor) return std::nullopt;
    tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

py::array view_of(const InputArray& array, const IoTensor& tensor) {
  std::vector<py::ssize_t> shape(array.shape.begin(), array.shape.end());
  const py::capsule owner(array.data, [](void*) {});  // the run's caller owns it
  py::array view(numpy_dtype(tensor.dtype), std::move(shape), array.data, owner);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

void take_result(const py::handle& result, const IoTensor& tensor, OutputArray& output) {
  const auto array = py::array::ensure(result, py::array::c_style);
  if (!array || to_data_type(array.dtype()) != tensor.dtype) {
    throw Error(tensor.name + ": the function returned no array of " +
                std::string(nvinfer::dtype_name(tensor.dtype)));
  }
  const auto shape = to_dims({array.shape(), array.shape() + array.ndim()});
  const auto bytes = static_cast<std::size_t>(array.nbytes());
  if (output.target == nullptr) {
    output.host = engine::HostBuffer(bytes);
  } else if (output.shape != shape) {
    throw InputError(tensor.name + ": the result has shape " + shape.str() +
                     ", but out= has shape " + output.shape.str());
  }
  output.shape = shape;
  if (bytes > 0) std::memcpy(output.data(), array.data(), bytes);
}

class FunctionBatch final : public engine::GatheredRun {
 public:
  explicit FunctionBatch(FunctionRunner& runner) : runner_(runner) {}
  void upload(std::size_t /*input*/, const engine::HostRows& /*rows*/, std::int64_t /*begin*/,
              std::int64_t /*end*/) override {}
  bool pad(std::size_t /*input*/, const engine::HostRows& /*rows*/, std::int64_t /*end*/) override {
    return false;
  }
  void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) override {
    runner_.run(inputs, outputs);
  }

 private:
  FunctionRunner& runner_;
};

}  // namespace

FunctionTensors FunctionTensors::of(const py::sequence& inputs, const py::sequence& outputs) {
  auto all_inputs = to_tensors(inputs);
  auto all_outputs = to_tensors(outputs);
  if (!all_inputs || !all_outputs) return {};
  return {std::move(*all_inputs), std::move(*all_outputs)};
}

void FunctionRunner::run(engine::Request& request) {
  if (auto* const call = dynamic_cast<FunctionCall*>(&request)) return call->call();
  run(request.inputs(), request.outputs());
}

void FunctionRunner::run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) {
  const GilAcquire gil;
  try {
    py::list arrays;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      arrays.append(view_of(inputs[i], tensors_.inputs[i]));
    }
    const py::sequence results = call_runner(function_, arrays, py::none());
    if (results.size() != outputs.size()) {
      throw Error("the function returned " + std::to_string(results.size()) + " results, not " +
                  std::to_string(outputs.size()));
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      take_result(results[i], tensors_.outputs[i], outputs[i]);
    }
  } catch (const py::error_already_set& error) {
    throw_as_core_error(error);
  }
}

std::unique_ptr<engine::GatheredRun> FunctionRunner::gather() {
  return std::make_unique<FunctionBatch>(*this);
}

}  // namespace fasttrt::bindings
