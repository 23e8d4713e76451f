// Arrays that fasttrt itself makes: in GPU memory, for those without a framework, and page-locked.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <optional>

#include "cuda/memory.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::bindings {

// C-contiguous; elements of 4 bits share bytes. Whatever writes its contents is done before Python
// sees it. The memory lives as long as the array or any consumer of it does.
class DeviceArray {
 public:
  // The buffer has room for the shape.
  DeviceArray(cuda::DeviceBuffer buffer, nvinfer::DataType dtype, const nvinfer::Dims& shape);
  ~DeviceArray();  // with the GIL, which it releases where freeing waits
  DeviceArray(DeviceArray&&) noexcept = default;
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(DeviceArray&&) = delete;

  // These throw InputError, CudaError or OutOfMemoryError.
  [[nodiscard]] static DeviceArray empty(pybind11::handle shape, pybind11::handle dtype,
                                         pybind11::handle device);
  [[nodiscard]] static DeviceArray from_numpy(pybind11::handle object, pybind11::handle device);
  [[nodiscard]] pybind11::array to_numpy() const;

  // As the protocols have them; BufferError for what is not on offer.
  [[nodiscard]] pybind11::object dlpack(const pybind11::object& stream,
                                        const pybind11::object& max_version,
                                        const pybind11::object& device,
                                        std::optional<bool> copy) const;
  [[nodiscard]] pybind11::dict cuda_array_interface() const;

  [[nodiscard]] void* data() const noexcept { return buffer_->data(); }
  [[nodiscard]] nvinfer::DataType dtype() const noexcept { return dtype_; }
  [[nodiscard]] const nvinfer::Dims& shape() const noexcept { return shape_; }
  [[nodiscard]] std::size_t bytes() const noexcept;
  [[nodiscard]] int device() const noexcept;

 private:
  [[nodiscard]] DeviceArray clone() const;

  std::shared_ptr<const cuda::DeviceBuffer> buffer_;
  nvinfer::DataType dtype_;
  nvinfer::Dims shape_;
};

// For results of runs: fasttrt._core.DeviceArray.
[[nodiscard]] pybind11::object make_device_array(cuda::DeviceBuffer buffer, nvinfer::DataType dtype,
                                                 const nvinfer::Dims& shape);

void register_device_array(pybind11::module_& module);

}  // namespace fasttrt::bindings
