// From the arrays of an infer() call to the core's, and from its results back.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/array_view.hpp"
#include "bindings/stream_order.hpp"
#include "cuda/stream.hpp"
#include "engine/engine.hpp"

namespace fasttrt::bindings {

// A tensor with the dtype that its arrays must have.
struct Binding {
  engine::IoTensor tensor;
  pybind11::dtype dtype;

  // numpy keeps a byte for each of these, TensorRT half of one.
  [[nodiscard]] bool is_packed() const { return nvinfer::bits_per_element(tensor.dtype) == 4; }
};

// An array for each input; None, or None or an array for each output.
struct Given {
  pybind11::sequence arrays;
  pybind11::object out;
};

// What one call was given, and everything that keeps it alive. Made, used and destroyed with the
// GIL; only inputs() and outputs() are used without.
class RunArguments {
 public:
  // Throws InputError that names the tensor, what was expected and what came.
  RunArguments(int device, const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
               const Given& given, std::optional<CUstream_st*> stream, SpareStream& spare);

  [[nodiscard]] const std::vector<engine::InputArray>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] std::vector<engine::OutputArray>& outputs() noexcept { return outputs_; }

  // Where the work is to be queued; none for host arrays alone.
  [[nodiscard]] std::optional<cuda::StreamRef> stream() const noexcept { return order_.stream(); }
  // Whether the host must wait for it: there is an array that its library will not order its own
  // work after.
  [[nodiscard]] bool must_wait() const noexcept;

  // Whether results without a target need memory in the caller's framework, which wants shapes.
  [[nodiscard]] bool wants_shapes() const noexcept;
  void allocate(const std::vector<nvinfer::Dims>& shapes);

  // The results: the caller's own targets, or new arrays.
  [[nodiscard]] pybind11::list results();

  // What the GPU may use after the call is over, if nobody waits.
  [[nodiscard]] std::vector<pybind11::object> take_owners() noexcept { return std::move(owners_); }

 private:
  [[nodiscard]] ArrayView look(const std::string& name, const pybind11::object& object,
                               std::optional<nvinfer::DataType> expected) const;
  [[nodiscard]] static pybind11::object make_contiguous(const std::string& name,
                                                        const ArrayView& array,
                                                        const pybind11::object& object);
  void check_device(const std::string& name, const ArrayView& array) const;
  void add_input(const Binding& binding, const pybind11::object& object);
  void add_target(std::size_t index);
  void check_apart() const;
  [[nodiscard]] pybind11::object to_object(std::size_t index);

  int device_;
  const std::vector<Binding>& input_bindings_;
  const std::vector<Binding>& output_bindings_;
  StreamOrder order_;
  std::vector<engine::InputArray> inputs_;
  std::vector<engine::OutputArray> outputs_;
  std::vector<std::vector<std::byte>> packed_;
  std::vector<pybind11::object> targets_;  // as the caller gave them, or as allocate() made them
  std::vector<pybind11::object> owners_;
  pybind11::object like_;  // the first array on the GPU: results are made in its framework
  const dlpack::ExchangeApi* exchange_ = nullptr;
};

}  // namespace fasttrt::bindings
