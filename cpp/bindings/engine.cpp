// Running: numpy arrays in, numpy arrays out.
#include "engine/engine.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "common/error.hpp"
#include "engine/nibbles.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using engine::Engine;
using engine::EngineOptions;
using engine::HostInput;
using engine::HostOutput;
using engine::IoTensor;
using nvinfer::Dims;

// numpy's own dtypes by name, the rest from ml_dtypes.
py::object to_numpy(nvinfer::DataType type) {
  const auto name = std::string(nvinfer::dtype_name(type));
  const auto numpy = py::module_::import("numpy");
  const auto ml_dtypes = py::module_::import("ml_dtypes");
  return numpy.attr("dtype")(py::hasattr(ml_dtypes, name.c_str()) ? ml_dtypes.attr(name.c_str())
                                                                  : py::object(py::str(name)));
}

Dims to_dims(const py::array& array, const std::string& name) {
  if (array.ndim() > nvinfer::max_rank) {
    throw InputError(name + ": expected at most " + std::to_string(nvinfer::max_rank) +
                     " dimensions, got " + std::to_string(array.ndim()));
  }
  Dims dims(static_cast<int>(array.ndim()));
  for (int axis = 0; axis < dims.rank(); ++axis) dims[axis] = array.shape(axis);
  return dims;
}

py::tuple to_tuple(const Dims& dims) {
  py::tuple tuple(static_cast<std::size_t>(std::max(dims.rank(), 0)));
  for (int axis = 0; axis < dims.rank(); ++axis) tuple[static_cast<std::size_t>(axis)] = dims[axis];
  return tuple;
}

// C-contiguous and aligned, in numpy's own flags.
constexpr int plain_layout = static_cast<int>(py::array::c_style) |
                             static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);

// A tensor with the dtype that its arrays must have.
struct Binding {
  IoTensor tensor;
  py::object dtype;

  // numpy keeps a byte for each of these, TensorRT half of one.
  [[nodiscard]] bool is_packed() const { return nvinfer::bits_per_element(tensor.dtype) == 4; }
};

std::span<const std::byte> bytes_of(const py::array& array) {
  return {static_cast<const std::byte*>(array.data()), static_cast<std::size_t>(array.nbytes())};
}

// The array itself if it is C-contiguous and aligned, else a copy that is.
py::array check_input(const Binding& binding, const py::handle& object) {
  const auto& name = binding.tensor.name;
  if (!py::isinstance<py::array>(object)) {
    throw InputError(name + ": expected a numpy array, got " +
                     std::string(py::str(py::type::of(object).attr("__name__"))));
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(binding.dtype)) {
    throw InputError(name + ": expected dtype " + std::string(py::str(binding.dtype)) + ", got " +
                     std::string(py::str(array.dtype())));
  }
  auto contiguous = py::array::ensure(array, plain_layout);
  if (!contiguous) throw OutOfMemoryError(name + ": no host memory for a contiguous copy");
  return contiguous;
}

HostOutput check_output(const Binding& binding, const py::handle& object) {
  HostOutput output;
  if (object.is_none()) return output;
  const auto& name = binding.tensor.name;
  if (!py::isinstance<py::array>(object)) {
    throw InputError(name + ": out= must be a numpy array");
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(binding.dtype)) {
    throw InputError(name + ": out= must have dtype " + std::string(py::str(binding.dtype)) +
                     ", got " + std::string(py::str(array.dtype())));
  }
  if (!array.writeable() || (array.flags() & plain_layout) != plain_layout) {
    throw InputError(name + ": out= must be C-contiguous, aligned and writeable");
  }
  if (binding.is_packed()) throw InputError(name + ": out= does not take four-bit types");
  output.shape = to_dims(array, name);
  output.target = array.mutable_data();
  return output;
}

py::object to_array(HostOutput& output, const Binding& binding) {
  const std::vector<py::ssize_t> shape(output.shape.begin(), output.shape.end());
  if (binding.is_packed()) {
    auto array = py::array(py::reinterpret_borrow<py::dtype>(binding.dtype), shape);
    const auto count = static_cast<std::size_t>(output.shape.volume());
    engine::unpack_nibbles({static_cast<const std::byte*>(output.data()), (count + 1) / 2},
                           {static_cast<std::byte*>(array.mutable_data()), count},
                           binding.tensor.dtype == nvinfer::DataType::int4);
    return array;
  }
  const py::capsule owner(output.buffer.data(), [](void* data) { std::free(data); });
  void* const data = output.buffer.release();  // the capsule's now
  return py::array(py::reinterpret_borrow<py::dtype>(binding.dtype), shape, data, owner);
}

// Two results in the same bytes would leave one of them wrong.
void check_apart(std::span<const HostOutput> results, std::span<const Binding> bindings) {
  const auto begin = [&](std::size_t i) {
    return static_cast<const std::byte*>(results[i].target);
  };
  const auto end = [&](std::size_t i) {
    return begin(i) + nvinfer::byte_size(bindings[i].tensor.dtype, results[i].shape.volume());
  };
  for (std::size_t a = 0; a < results.size(); ++a) {
    for (std::size_t b = a + 1; b < results.size(); ++b) {
      if (results[a].target == nullptr || results[b].target == nullptr) continue;
      if (begin(a) < end(b) && begin(b) < end(a)) {
        throw InputError("out= gives " + bindings[a].tensor.name + " and " +
                         bindings[b].tensor.name + " the same memory");
      }
    }
  }
}

class PyEngine {
 public:
  PyEngine(const LibraryHandle& library, std::string_view plan, int device, int contexts,
           bool allow_host_code) {
    {
      // Safe: the caller keeps the plan's bytes alive, and no Python object is touched.
      const GilRelease release;
      engine_ = std::make_unique<Engine>(library.library,
                                         std::as_bytes(std::span(plan.data(), plan.size())),
                                         EngineOptions{device, contexts, allow_host_code});
    }
    for (const auto& tensor : engine_->inputs()) {
      inputs_.push_back({tensor, to_numpy(tensor.dtype)});
    }
    for (const auto& tensor : engine_->outputs()) {
      outputs_.push_back({tensor, to_numpy(tensor.dtype)});
    }
  }

  ~PyEngine() {
    // Freeing may wait for runs of other threads, and for the library's own threads.
    const GilRelease release;
    engine_.reset();
  }
  PyEngine(const PyEngine&) = delete;
  PyEngine& operator=(const PyEngine&) = delete;

  py::list infer(const py::sequence& arrays, const std::optional<py::sequence>& out) {
    if (arrays.size() != inputs_.size()) {
      throw InputError("expected " + std::to_string(inputs_.size()) + " inputs, got " +
                       std::to_string(arrays.size()));
    }
    if (out && out->size() != outputs_.size()) {
      throw InputError("out= must have " + std::to_string(outputs_.size()) + " entries, got " +
                       std::to_string(out->size()));
    }
    std::vector<py::array> held;  // until the GPU has read them
    std::vector<std::vector<std::byte>> packed(inputs_.size());
    std::vector<HostInput> inputs;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const auto& array = held.emplace_back(check_input(inputs_[i], py::object(arrays[i])));
      const void* data = array.data();
      if (inputs_[i].is_packed()) {
        packed[i] = engine::pack_nibbles(bytes_of(array));
        data = packed[i].data();
      }
      inputs.push_back({data, to_dims(array, inputs_[i].tensor.name)});
    }
    std::vector<HostOutput> results(outputs_.size());
    std::vector<py::object> targets(outputs_.size());
    for (std::size_t i = 0; out && i < outputs_.size(); ++i) {
      targets[i] = (*out)[i];
      results[i] = check_output(outputs_[i], targets[i]);
    }
    check_apart(results, outputs_);
    {
      // Safe: `held` and `targets` own every array whose memory is used meanwhile.
      const GilRelease release;
      engine_->infer(inputs, results);
    }
    py::list list;
    for (std::size_t i = 0; i < results.size(); ++i) {
      list.append(results[i].target != nullptr ? targets[i] : to_array(results[i], outputs_[i]));
    }
    return list;
  }

  [[nodiscard]] py::list specs(bool inputs) const {
    py::list list;
    for (const auto& [tensor, dtype] : inputs ? inputs_ : outputs_) {
      py::list profiles;
      for (const auto& range : tensor.profiles) {
        if (tensor.on_host) {
          profiles.append(py::make_tuple(py::tuple(py::cast(range.min_values)),
                                         py::tuple(py::cast(range.opt_values)),
                                         py::tuple(py::cast(range.max_values))));
        } else {
          profiles.append(
              py::make_tuple(to_tuple(range.min), to_tuple(range.opt), to_tuple(range.max)));
        }
      }
      list.append(py::make_tuple(to_str(tensor.name), dtype, to_tuple(tensor.shape), tensor.on_host,
                                 profiles));
    }
    return list;
  }

  [[nodiscard]] py::bytes serialize() const {
    std::unique_ptr<nvinfer::HostMemory> memory;
    {
      const GilRelease release;  // no Python object is touched
      memory = engine_->serialize();
    }
    const auto bytes = memory->bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  [[nodiscard]] Engine& engine() const { return *engine_; }

 private:
  std::unique_ptr<Engine> engine_;
  std::vector<Binding> inputs_;
  std::vector<Binding> outputs_;
};

}  // namespace

void register_engine(py::module_& module) {
  py::class_<PyEngine>(module, "Engine")
      .def(py::init<const LibraryHandle&, std::string_view, int, int, bool>(), py::arg("library"),
           py::arg("plan"), py::arg("device"), py::arg("contexts"), py::arg("allow_host_code"))
      .def("infer", &PyEngine::infer, py::arg("arrays"), py::arg("out"),
           "Run once: an array for each input, in order; out has None or an array for each output.")
      .def(
          "inputs", [](const PyEngine& self) { return self.specs(true); },
          "(name, dtype, shape, on host, [(min, opt, max) of each profile]) of each input. For a "
          "tensor on the host min, opt and max are values.")
      .def("outputs", [](const PyEngine& self) { return self.specs(false); })
      .def("serialize", &PyEngine::serialize)
      .def(
          "close", [](PyEngine& self) { self.engine().close(); },
          ReleaseGil())  // waits for runs of other threads
      .def_property_readonly(
          "closed", py::cpp_function([](const PyEngine& self) { return self.engine().closed(); },
                                     ReleaseGil()))
      .def_property_readonly("device", [](const PyEngine& self) { return self.engine().device(); })
      .def_property_readonly(
          "layer_count",
          py::cpp_function([](const PyEngine& self) { return self.engine().layer_count(); },
                           ReleaseGil()));
}

}  // namespace fasttrt::bindings
