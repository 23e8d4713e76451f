#include "bindings/function_call.hpp"

#include <pybind11/numpy.h>

#include <cstdint>
#include <utility>

#include "bindings/gil.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {

namespace py = pybind11;
namespace {

std::int64_t first_dimension(const py::object& arrays) {
  const auto all = py::reinterpret_borrow<py::sequence>(arrays);
  if (all.empty()) return 1;
  const py::object first = all[0];
  if (!py::isinstance<py::array>(first)) return 1;
  const auto array = py::reinterpret_borrow<py::array>(first);
  return array.ndim() == 0 ? 1 : array.shape(0);
}

}  // namespace

// NOLINTBEGIN(bugprone-easily-swappable-parameters): in the order of a call
FunctionCall::FunctionCall(const std::shared_ptr<engine::Dispatcher>& dispatcher,
                           py::function function, py::object arrays, py::object out)
    : PyRequest(dispatcher),
      function_(std::move(function)),
      arrays_(std::move(arrays)),
      out_(std::move(out)) {
  batch_size = first_dimension(arrays_);
}
// NOLINTEND(bugprone-easily-swappable-parameters)

void FunctionCall::call() {
  const GilAcquire gil;
  try {
    returned_ = call_runner(function_, arrays_, out_);
  } catch (const py::error_already_set& error) {
    raised_ = error.value();
    if (error.trace()) PyException_SetTraceback(raised_.ptr(), error.trace().ptr());
  }
  arrays_ = out_ = py::none();  // their caller may want to see that they are free
  if (raised_) throw Error("the function raised an error of Python's");
}

py::list FunctionCall::make_results() { return returned_; }

void FunctionCall::throw_python_error() const {
  if (!raised_) return;
  PyErr_SetObject(py::type::handle_of(raised_).ptr(), raised_.ptr());
  throw py::error_already_set();
}

}  // namespace fasttrt::bindings
