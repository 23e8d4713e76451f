// C++ errors become their namesakes in fasttrt.errors.
#include "bindings/errors.hpp"

#include <exception>
#include <new>

#include "bindings/register.hpp"
#include "bindings/text.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;

py::object error_class(const char* name) {
  return py::module_::import("fasttrt.errors").attr(name);
}

void raise(const char* name, const Error& error) {
  PyErr_SetObject(error_class(name).ptr(), to_str(error.what()).ptr());
}

void raise(const char* name, const py::object& instance) {
  PyErr_SetObject(error_class(name).ptr(), instance.ptr());
}

void raise(const ParseError& error) {
  const auto issue_class = error_class("ParseIssue");
  py::list issues;
  for (const auto& issue : error.issues()) {
    issues.append(
        issue_class(issue.node, to_str(issue.name), to_str(issue.op), to_str(issue.reason)));
  }
  raise("ParseError", error_class("ParseError")(to_str(error.what()), py::tuple(issues)));
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): as pybind11 declares it
void translate(std::exception_ptr pointer) {
  if (pointer == nullptr) return;
  try {
    std::rethrow_exception(pointer);
  } catch (const ParseError& error) {
    raise(error);
  } catch (const CudaError& error) {
    raise("CudaError", error_class("CudaError")(error.what(), error.code(), error.call()));
  } catch (const LibraryNotFoundError& error) {
    raise("LibraryNotFoundError", error);
  } catch (const UnsupportedLibraryError& error) {
    raise("UnsupportedLibraryError", error);
  } catch (const BuildInterrupted& error) {
    raise("BuildError", error);
  } catch (const BuildError& error) {
    raise("BuildError", error);
  } catch (const EngineLoadError& error) {
    raise("EngineLoadError", error);
  } catch (const InputError& error) {
    raise("InputError", error);
  } catch (const OutOfMemoryError& error) {
    raise("OutOfMemoryError", error);
  } catch (const QueueFullError& error) {
    raise("QueueFullError", error);
  } catch (const DeadlineError& error) {
    raise("DeadlineError", error);
  } catch (const Error& error) {
    raise("Error", error);
  } catch (const std::bad_alloc&) {
    raise("OutOfMemoryError", OutOfMemoryError("the host has no memory left"));
  }
}

template <class E>
void throw_if(const py::error_already_set& error, const char* name) {
  if (error.matches(error_class(name))) throw E(text_of(error.value()));
}

}  // namespace

void throw_as_core_error(const py::error_already_set& error) {
  throw_if<InputError>(error, "InputError");
  throw_if<OutOfMemoryError>(error, "OutOfMemoryError");
  throw_if<QueueFullError>(error, "QueueFullError");
  throw_if<DeadlineError>(error, "DeadlineError");
  if (error.matches(error_class("CudaError"))) {
    throw CudaError(text_of(error.value()), error.value().attr("code").cast<int>(),
                    text_of(error.value().attr("call")));
  }
  throw_if<Error>(error, "Error");
  throw Error(type_name(error.value()) + ": " + text_of(error.value()));
}

void register_errors(py::module_& /*module*/) {
  py::register_local_exception_translator(&translate);
}

}  // namespace fasttrt::bindings
