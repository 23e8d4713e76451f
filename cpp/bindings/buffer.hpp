// The memory of a Python object that has the buffer protocol (bytes, memoryview, mmap), read where
// it lies.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "engine/engine.hpp"
#include "nvinfer/builder.hpp"

namespace fasttrt::bindings {

// The memory can be neither freed nor resized while this lives. Needs the GIL at both ends.
class Buffer {
 public:
  // Throws InputError for one that is not contiguous.
  Buffer(const char* name, const pybind11::buffer& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) == 0) return;
    PyErr_Clear();
    throw InputError(std::string(name) + ": expected contiguous memory (bytes, memoryview, mmap)");
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

// The bytes of an ONNX file, copied.
[[nodiscard]] inline engine::OnnxSource onnx_source(const pybind11::buffer& model,
                                                    std::string base) {
  const Buffer buffer("model", model);
  const auto bytes = buffer.bytes();
  if (bytes.empty()) throw InputError("model: expected an ONNX model, got no bytes");
  return {std::move(base), {bytes.begin(), bytes.end()}};
}

// A copy; None for null.
[[nodiscard]] inline pybind11::object to_bytes(const nvinfer::HostMemory* memory) {
  if (memory == nullptr) return pybind11::none();
  const auto bytes = memory->bytes();
  return pybind11::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace fasttrt::bindings
