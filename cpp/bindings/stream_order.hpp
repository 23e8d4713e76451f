// In which stream a call's work is queued, and what it has to wait for there.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "bindings/array_view.hpp"
#include "bindings/call_resources.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::bindings {

class StreamOrder {
 public:
  // callers: the stream that the caller named, who then sees to what comes later.
  StreamOrder(int device, std::optional<CUstream_st*> callers, SpareStream& spare);

  // Unless the caller named one: the current stream of the first array's library, else the spare
  // one. Host arrays alone need none.
  void choose(const std::vector<pybind11::object>& arrays,
              const std::vector<pybind11::object>& targets);

  // Makes the stream wait for the work on an array's contents that is queued elsewhere. What its
  // library does with it later, freeing its memory included, has to come after the run.
  void add(const ArrayView& array, const pybind11::object& object);

  [[nodiscard]] std::optional<cuda::StreamRef> stream() const noexcept { return stream_; }
  // Whether everything that uses the arrays later is in the stream's order.
  [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }

 private:
  [[nodiscard]] std::optional<CUstream_st*> current_stream(const pybind11::object& object) const;

  int device_;
  SpareStream& spare_;
  std::optional<cuda::StreamRef> stream_;
  bool is_callers_ = false;
  bool is_complete_ = false;
  const PyTypeObject* ordered_type_ = nullptr;  // of arrays whose library's current stream it is
};

}  // namespace fasttrt::bindings
