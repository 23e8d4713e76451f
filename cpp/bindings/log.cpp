// TensorRT's log. Vendor threads only append to a queue; Python takes the lines from it whenever a
// call into the core returns, so that no vendor thread ever waits for the GIL.
#include "bindings/register.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::bindings {
namespace py = pybind11;
using nvinfer::Logger;
using nvinfer::Severity;

void register_log(py::module_& module) {
  module.def(
      "set_log_threshold",
      [](int severity) { Logger::instance().set_threshold(static_cast<Severity>(severity)); },
      py::arg("severity"),
      "Keep TensorRT's messages up to this severity (0 internal error, 1 error, 2 warning, 3 info, "
      "4 verbose).");
  module.def(
      "has_log", [] { return Logger::instance().pending(); },
      "Whether take_log() would return anything.");
  module.def(
      "take_log",
      [] {
        py::list lines;
        for (const auto& record : Logger::instance().take()) {
          lines.append(py::make_tuple(static_cast<int>(record.severity), to_str(record.text)));
        }
        return lines;
      },
      "The messages since the last call, oldest first, as (severity, text).");
}

}  // namespace fasttrt::bindings
