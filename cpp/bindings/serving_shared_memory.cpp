// Memory that clients share with the server.
#include <pybind11/stl.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bindings/gil.hpp"
#include "bindings/register.hpp"
#include "serving/cuda_memory_region.hpp"
#include "serving/shared_memory_table.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::CudaMemoryRegion;
using serving::RegionCopy;
using serving::SharedMemoryRegion;
using serving::SharedMemoryTable;
using serving::SystemMemoryRegion;

std::shared_ptr<CudaMemoryRegion> open_cuda_memory(const py::bytes& raw_handle, int device,
                                                   std::size_t bytes) {
  const std::string handle = raw_handle;
  const GilRelease release;  // nothing of Python's is touched
  return std::make_shared<CudaMemoryRegion>(handle, device, bytes);
}

std::optional<py::memoryview> copy(const SharedMemoryTable& table, const SharedMemoryRegion& region,
                                   std::size_t offset, std::size_t bytes) {
  if (!region.has(offset, bytes)) throw py::index_error("not within the region");
  std::optional<RegionCopy> copied;
  {
    const GilRelease release;  // nothing of Python's is touched
    copied = table.copy(region, offset, bytes, nullptr);
  }
  if (!copied) return std::nullopt;
  return py::memoryview(py::cast(std::move(*copied)));
}

void write(const SharedMemoryRegion& region, std::size_t offset, const py::buffer& data) {
  const auto view = data.request();
  const auto bytes = static_cast<std::size_t>(view.size * view.itemsize);
  if (!region.has(offset, bytes)) throw py::index_error("not within the region");
  const GilRelease release;  // the buffer is held by `view`
  region.write(offset, {static_cast<const char*>(view.ptr), bytes});
}

py::buffer_info buffer_of(const RegionCopy& self) {
  return {const_cast<char*>(self.data()),
          1,
          py::format_descriptor<unsigned char>::format(),
          1,
          {self.size()},
          {1U},
          true};
}

}  // namespace

void register_shared_memory(py::module_& module) {
  py::class_<SharedMemoryRegion, std::shared_ptr<SharedMemoryRegion>>(
      module, "SharedMemoryRegion", "Memory that a client shares with the server.")
      .def_property_readonly("size", &SharedMemoryRegion::size)
      .def("has", &SharedMemoryRegion::has, py::arg("offset"), py::arg("size"),
           "Return whether so many bytes from there on are the region's.")
      .def(
          "write", &write, py::arg("offset"), py::arg("data"),
          "Copy a contiguous buffer to the region. Raises InputError where the memory is not there "
          "any more, IndexError beyond the region.");
  py::class_<SystemMemoryRegion, SharedMemoryRegion, std::shared_ptr<SystemMemoryRegion>>(
      module, "SystemMemoryRegion", "A part of a POSIX shared-memory object.")
      .def(
          py::init<std::string, std::size_t, std::size_t>(), py::arg("key"), py::arg("offset"),
          py::arg("size"),
          "Open the object. Raises InputError for a key that is none, an object that is not there, "
          "or one that ends before offset + size.")
      .def_property_readonly("key", &SystemMemoryRegion::key)
      .def_property_readonly("offset", &SystemMemoryRegion::offset);
  py::class_<CudaMemoryRegion, SharedMemoryRegion, std::shared_ptr<CudaMemoryRegion>>(
      module, "CudaMemoryRegion", "Memory of a GPU that another process has exported.")
      .def(
          py::init(&open_cuda_memory), py::arg("raw_handle"), py::arg("device"), py::arg("size"),
          "Open the memory, by its CUDA IPC handle. Raises InputError for a handle that is none, a "
          "device that is not there, or memory that is smaller.")
      .def_property_readonly("device", &CudaMemoryRegion::device);
  py::class_<RegionCopy>(module, "RegionCopy", py::buffer_protocol(),
                         "What a part of a region was; a buffer of bytes.")
      .def_buffer(&buffer_of);
  py::class_<SharedMemoryTable, std::shared_ptr<SharedMemoryTable>>(
      module, "SharedMemoryTable", "The shared memory that clients have registered, by name.")
      .def(py::init<std::size_t>(), py::arg("max_copied_bytes"),
           "max_copied_bytes: of all copies that exist at a time.")
      .def("add", &SharedMemoryTable::add, py::arg("name"), py::arg("region"),
           "Return False where the name is taken.")
      .def(
          "remove", [](SharedMemoryTable& self, const std::string& name) { self.remove(name); },
          py::arg("name"), "A region in use is let go of when the requests that use it are over.")
      .def(
          "find",
          [](const SharedMemoryTable& self, const std::string& name) { return self.find(name); },
          py::arg("name"), "Return a region; None where there is none of this name.")
      .def("regions", &SharedMemoryTable::regions, "Return all names and regions, by name.")
      .def("copy", &copy, py::arg("region"), py::arg("offset"), py::arg("size"),
           "Copy a part of a region; None where too many bytes are copied at the moment. Raises "
           "InputError where the memory is not there any more, IndexError beyond the region.");
}

}  // namespace fasttrt::bindings
