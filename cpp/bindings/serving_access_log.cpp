// The log of requests.
#include <memory>
#include <string>
#include <utility>

#include "bindings/gil.hpp"
#include "bindings/process.hpp"
#include "bindings/register.hpp"
#include "serving/access_log.hpp"

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;
using serving::AccessLog;

std::shared_ptr<AccessLog> open_access_log(std::string path) {
  const auto end = [process = Process()](AccessLog* log) {
    if (process.is_another()) return;  // the parent's, whose thread is not here
    delete log;                        // NOLINT(cppcoreguidelines-owning-memory): as it was given
  };
  return {new AccessLog(std::move(path)), end};
}

}  // namespace

void register_access_log(py::module_& module) {
  py::class_<AccessLog, std::shared_ptr<AccessLog>>(module, "AccessLog",
                                                    "A line of JSON for each request.")
      .def(py::init(&open_access_log), py::arg("path"),
           "Append to a file; '-': standard output. Raises InputError where it cannot be written, "
           "or "
           "is of another kind.")
      .def(
          "close",
          [](AccessLog& self) {
            const GilRelease release;  // waits for the file
            self.close();
          },
          "Wait until all is written, and write nothing more.");
}

}  // namespace fasttrt::bindings
