// The CUDA driver and its GPUs.
#include "cuda/device.hpp"

#include <pybind11/stl.h>

#include <memory>
#include <utility>

#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "cuda/memory.hpp"

namespace fasttrt::bindings {
namespace py = pybind11;

void register_device(py::module_& module) {
  py::class_<cuda::DeviceInfo>(module, "DeviceInfo")
      .def_readonly("ordinal", &cuda::DeviceInfo::ordinal)
      .def_readonly("name", &cuda::DeviceInfo::name)
      .def_readonly("uuid", &cuda::DeviceInfo::uuid)
      .def_readonly("major", &cuda::DeviceInfo::major)
      .def_readonly("minor", &cuda::DeviceInfo::minor)
      .def_readonly("total_memory", &cuda::DeviceInfo::total_memory)
      .def_readonly("driver_version", &cuda::DeviceInfo::driver_version);
  py::class_<cuda::PrimaryContext, std::shared_ptr<cuda::PrimaryContext>>(module, "PrimaryContext")
      .def(py::init([](int ordinal) {
             const GilRelease release;  // it may initialise the driver
             return cuda::PrimaryContext::retain(ordinal);
           }),
           py::arg("ordinal"))
      .def_property_readonly("ordinal", &cuda::PrimaryContext::ordinal);
  // Each may load and initialise the driver, which takes a while and touches no Python object.
  module.def("driver_problem", &cuda::driver_problem, ReleaseGil(),
             "Why no GPU can be used, in a sentence; empty if one can.");
  module.def("device_count", &cuda::device_count, ReleaseGil());
  module.def("device_info", &cuda::device_info, py::arg("ordinal"), ReleaseGil());
  module.def(
      "device_memory",
      [](int ordinal) {
        const auto context = cuda::PrimaryContext::retain(ordinal);
        const cuda::ContextGuard guard(*context);
        const auto info = cuda::memory_info();
        return std::pair(info.free, info.total);
      },
      py::arg("ordinal"), ReleaseGil(), "Free and total memory of a GPU, in bytes.");
}

}  // namespace fasttrt::bindings
