// The part of Library that loads the caller's plugins.
#include <filesystem>
#include <memory>
#include <mutex>
#include <system_error>

#include "common/error.hpp"
#include "nvinfer/library.hpp"
#include "nvinfer/logger.hpp"
#include "nvinfer/object.hpp"

namespace fasttrt::nvinfer {

void Library::load_plugins(const std::string& path) const {
  namespace fs = std::filesystem;
  std::error_code failed;
  const auto file = fs::canonical(path, failed);
  if (failed) throw Error("the plugin library " + path + " cannot be read: " + failed.message());
  auto* const registry = library_.find<void*()>("getPluginRegistry");
  if (registry == nullptr || create_runtime_ == nullptr) {
    throw UnsupportedLibraryError(str() + " does not support plugins: it has no plugin registry");
  }
  ensure_initialized();
  const std::lock_guard lock(plugins_mutex_);
  if (plugins_.contains(file)) return;  // TensorRT refuses what is registered already
  // The registry has no logger of its own, and takes that of what lives.
  void* const runtime = create_runtime_(Logger::instance().vendor_interface(generation_), number_);
  if (runtime == nullptr) throw Error(str() + " could not create a runtime to load plugins with");
  const Object with_logger({std::shared_ptr<void>(), this}, runtime, nullptr);
  const ErrorScope errors;
  const ObjectRef plugins(this, registry());
  const auto& load = plugins.has(methods::registry_load_library)
                         ? methods::registry_load_library
                         : methods::registry_load_library_8600;
  if (plugins.call_direct(load, file.c_str()) == nullptr) {
    throw Error(errors.explain(str() + " could not load plugins from " + file.string()));
  }
  plugins_.insert(file);
}

}  // namespace fasttrt::nvinfer
