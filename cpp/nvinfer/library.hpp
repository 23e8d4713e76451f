// One loaded TensorRT library, with the ONNX parser that belongs to it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "common/shared_library.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/methods.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

class Library {
 public:
  // Opens a library by path or soname, once: later calls for the same file share it. Throws
  // LibraryNotFoundError if there is none, UnsupportedLibraryError if the file is no library, no
  // TensorRT, or of a release without a table.
  [[nodiscard]] static std::shared_ptr<const Library> open(const std::string& name);

  [[nodiscard]] Family family() const noexcept { return family_; }
  [[nodiscard]] const Version& version() const noexcept { return version_; }
  [[nodiscard]] Generation generation() const noexcept { return generation_; }
  [[nodiscard]] std::string path() const { return library_.path().string(); }
  // "TensorRT-RTX 1.6.1"
  [[nodiscard]] std::string str() const;

  [[nodiscard]] bool can_build() const noexcept { return create_builder_ != nullptr; }
  [[nodiscard]] bool can_parse() const noexcept { return create_parser_ != nullptr; }
  [[nodiscard]] std::string parser_path() const;  // empty if there is none
  // Why there is no parser, in a sentence; empty if there is one.
  [[nodiscard]] const std::string& parser_problem() const noexcept { return parser_problem_; }

  // The vendor's objects, to be owned by an Object. Only TensorRT-RTX survives these calls without
  // a working driver, so the others ask for it first: CudaError. Otherwise null means refused.
  [[nodiscard]] void* create_builder() const;
  [[nodiscard]] void* create_runtime() const;
  [[nodiscard]] void* create_parser(void* network) const;
  [[nodiscard]] void* create_refitter(void* engine) const;
  // Throws UnsupportedLibraryError where there is none (TensorRT 8.6, the lean runtime).
  [[nodiscard]] void* create_parser_refitter(void* refitter) const;

  // Registers the plugins of a shared library, for the parser and for plans; once, later calls for
  // the same file do nothing. Its code runs in this process from then on. Throws Error with
  // TensorRT's error lines, UnsupportedLibraryError where there is no registry, or CudaError (no
  // driver, where the library needs one).
  void load_plugins(const std::string& path) const;

  [[nodiscard]] bool has(const MethodInfo& method) const noexcept {
    return slot_of(method).present(number_);
  }
  [[nodiscard]] bool has(const Enumerator& enumerator) const noexcept {
    return enumerator.values[column()].present(number_);
  }
  // Throws UnsupportedLibraryError that names the method and this library.
  [[nodiscard]] std::size_t slot(const MethodInfo& method) const {
    const auto& slot = slot_of(method);
    if (!slot.present(number_)) refuse(method.interface, method.name);
    return static_cast<std::size_t>(slot.index);
  }
  [[nodiscard]] std::int32_t value(const Enumerator& enumerator) const {
    const auto& slot = enumerator.values[column()];
    if (!slot.present(number_)) refuse(enumerator.enumeration, enumerator.name);
    return slot.index;
  }

  explicit Library(SharedLibrary library);

 private:
  [[nodiscard]] std::size_t column() const noexcept {
    return static_cast<std::size_t>(generation_);
  }
  [[nodiscard]] const Slot& slot_of(const MethodInfo& method) const noexcept {
    return method.slots[column()];
  }
  [[noreturn]] void refuse(const char* interface, const char* name) const;
  void load_parser();
  void ensure_initialized() const;
  void load_bundled_plugins() const;

  SharedLibrary library_;
  std::optional<SharedLibrary> parser_;
  std::string parser_problem_;
  Family family_;
  std::int32_t number_;
  Version version_;
  Generation generation_;
  using CreateFunction = void*(void*, std::int32_t);
  using CreateFromFunction = void*(void*, void*, std::int32_t);
  CreateFunction* create_builder_ = nullptr;
  CreateFunction* create_runtime_ = nullptr;
  CreateFromFunction* create_parser_ = nullptr;
  CreateFromFunction* create_refitter_ = nullptr;
  CreateFromFunction* create_parser_refitter_ = nullptr;
  std::int32_t parser_number_ = 0;
  mutable std::once_flag bundled_plugins_loaded_;
  mutable std::once_flag builder_kept_;
  mutable std::mutex plugins_mutex_;
  mutable std::set<std::filesystem::path> plugins_;  // that are loaded
};

}  // namespace fasttrt::nvinfer
