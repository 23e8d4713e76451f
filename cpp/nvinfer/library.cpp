#include "nvinfer/library.hpp"

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "common/error.hpp"
#include "cuda/driver_api.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::nvinfer {
namespace {

SharedLibrary open_shared(const std::string& name) {
  try {
    return SharedLibrary(name);
  } catch (const LibraryNotFoundError& error) {
    std::error_code ignored;
    if (!std::filesystem::exists(name, ignored)) throw;
    throw UnsupportedLibraryError(name +
                                  " is not a library that can be loaded here: " + error.what());
  }
}

// The version number cannot tell the families apart (RTX counts from 1 in the same form); the
// library's own name does.
Family family_of(const SharedLibrary& library) {
  const auto name =
      library.soname().empty() ? library.path().filename().string() : library.soname();
  if (name.starts_with("libtensorrt_rtx.so")) return Family::rtx;
  if (name.starts_with("libnvinfer_lean.so")) return Family::lean;
  if (name.starts_with("libnvinfer.so")) return Family::tensorrt;
  throw UnsupportedLibraryError(
      library.path().string() + " calls itself " + name +
      ", which is none of libnvinfer, libnvinfer_lean and libtensorrt_rtx");
}

std::int32_t version_number(const SharedLibrary& library) {
  auto* const get_version = library.find<std::int32_t()>("getInferLibVersion");
  if (get_version == nullptr) {
    throw UnsupportedLibraryError(library.path().string() +
                                  " is not a TensorRT library: it has no getInferLibVersion()");
  }
  return get_version();
}

Generation supported_generation(const SharedLibrary& library, Family family,
                                const Version& version) {
  try {
    return generation_of(family, version);
  } catch (const UnsupportedLibraryError& error) {
    throw UnsupportedLibraryError(library.path().string() + ": " + error.what());
  }
}

}  // namespace

std::shared_ptr<const Library> Library::open(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::filesystem::path, std::shared_ptr<const Library>> opened;
  auto shared = open_shared(name);
  const std::lock_guard lock(mutex);
  auto& entry = opened[shared.path()];
  if (entry == nullptr) entry = std::make_shared<const Library>(std::move(shared));
  return entry;
}

Library::Library(SharedLibrary library)
    : library_(std::move(library)),
      family_(family_of(library_)),
      number_(version_number(library_)),
      version_(Version::decode(family_, number_)),
      generation_(supported_generation(library_, family_, version_)),
      create_builder_(library_.find<CreateFunction>("createInferBuilder_INTERNAL")),
      create_runtime_(library_.find<CreateFunction>("createInferRuntime_INTERNAL")),
      create_refitter_(library_.find<CreateFromFunction>("createInferRefitter_INTERNAL")) {
  if (family_ == Family::lean) create_builder_ = nullptr;
  load_parser();
}

std::string Library::str() const {
  return std::string(product_name(family_)) + " " + version_.str();
}

std::string Library::parser_path() const { return parser_ ? parser_->path().string() : ""; }

void Library::load_parser() {
  if (family_ == Family::lean) {
    parser_problem_ = "the lean runtime has no ONNX parser and builds no engines";
    return;
  }
  const auto soname = family_ == Family::rtx
                          ? "libtensorrt_onnxparser_rtx.so." + std::to_string(version_.major)
                          : "libnvonnxparser.so." + std::to_string(version_.major);
  const auto beside = library_.path().parent_path() / soname;
  std::error_code ignored;
  const bool is_beside = std::filesystem::exists(beside, ignored);
  try {
    parser_.emplace(is_beside ? beside.string() : soname);
  } catch (const LibraryNotFoundError& error) {
    parser_problem_ = "no ONNX parser for " + str() + " could be loaded (" + soname +
                      " is looked for beside the library and by the loader): " + error.what();
    return;
  }
  auto* const create = parser_->find<CreateFromFunction>("createNvOnnxParser_INTERNAL");
  auto* const version = parser_->find<std::int32_t()>("getNvOnnxParserVersion");
  if (create == nullptr || version == nullptr) {
    parser_problem_ = parser_->path().string() + " is not an ONNX parser";
  } else if (parser_->soname() != soname) {
    parser_problem_ = "the ONNX parser " + parser_->path().string() + " is " + parser_->soname() +
                      " and does not match " + str() + ", which needs " + soname;
  } else {
    create_parser_ = create;
    create_parser_refitter_ =
        parser_->find<CreateFromFunction>("createNvOnnxParserRefitter_INTERNAL");
    parser_number_ = version();
  }
}

void Library::refuse(const char* interface, const char* name) const {
  throw UnsupportedLibraryError(str() + " has no " + interface + "::" + name);
}

// Without a driver, TensorRT 8.6 crashes in these factories and the lean runtimes hand out an
// invalid pointer.
void Library::ensure_initialized() const {
  if (family_ == Family::rtx) return;
  (void)cuda::driver();
  std::call_once(bundled_plugins_loaded_, [this] { load_bundled_plugins(); });
}

// The vendor's own plugins (EfficientNMS and others) register themselves on request. They are
// optional: what needs one and does not find it says so itself.
void Library::load_bundled_plugins() const {
  if (family_ != Family::tensorrt) return;
  const auto soname = "libnvinfer_plugin.so." + std::to_string(version_.major);
  const auto beside = library_.path().parent_path() / soname;
  std::error_code ignored;
  try {
    const SharedLibrary plugins(std::filesystem::exists(beside, ignored) ? beside.string()
                                                                         : soname);
    if (auto* const init = plugins.find<bool(void*, const char*)>("initLibNvInferPlugins")) {
      init(Logger::instance().vendor_interface(generation_), "");
    }
  } catch (const LibraryNotFoundError&) {
    Logger::instance().log(Severity::verbose, (soname + " was not found").c_str());
  }
}

void* Library::create_builder() const {
  if (create_builder_ == nullptr) {
    throw UnsupportedLibraryError(str() + " cannot build engines; it only runs them");
  }
  ensure_initialized();
  // The first builder of the full library loads a gigabyte of kernels, which go with the last one:
  // 10 s, against 2 ms while another lives (8.6.0 on an H200). So one is kept for good.
  if (family_ == Family::tensorrt) {
    std::call_once(builder_kept_, [this] {
      (void)create_builder_(Logger::instance().vendor_interface(generation_), number_);
    });
  }
  return create_builder_(Logger::instance().vendor_interface(generation_), number_);
}

void* Library::create_runtime() const {
  if (create_runtime_ == nullptr) throw UnsupportedLibraryError(str() + " has no runtime");
  (void)cuda::driver();  // RTX's runtime needs none, but an engine does
  ensure_initialized();
  return create_runtime_(Logger::instance().vendor_interface(generation_), number_);
}

void* Library::create_parser(void* network) const {
  if (create_parser_ == nullptr) throw UnsupportedLibraryError(parser_problem_);
  return create_parser_(network, Logger::instance().vendor_interface(generation_), parser_number_);
}

void* Library::create_refitter(void* engine) const {
  if (create_refitter_ == nullptr) throw UnsupportedLibraryError(str() + " cannot refit engines");
  return create_refitter_(engine, Logger::instance().vendor_interface(generation_), number_);
}

void* Library::create_parser_refitter(void* refitter) const {
  if (create_parser_ == nullptr) throw UnsupportedLibraryError(parser_problem_);
  if (create_parser_refitter_ == nullptr) {
    throw UnsupportedLibraryError(
        str() +
        " cannot refit engines from ONNX models: its parser has no refitter (TensorRT 10 "
        "and later and TensorRT-RTX have one)");
  }
  return create_parser_refitter_(refitter, Logger::instance().vendor_interface(generation_),
                                 parser_number_);
}

}  // namespace fasttrt::nvinfer
