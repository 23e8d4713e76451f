// A shared library opened at run time, closed never: vendor libraries keep threads and
// process-wide state that outlive any handle.
#pragma once

#include <filesystem>
#include <string>

namespace fasttrt {

class SharedLibrary {
 public:
  // name: a path, or a soname for the loader's own search. Bound lazily, as parts of a vendor's
  // library may refer to others that are not needed. Throws LibraryNotFoundError with the
  // loader's message.
  explicit SharedLibrary(const std::string& name);

  // The symbol's address, or nullptr where the library lacks it.
  [[nodiscard]] void* find(const char* symbol) const noexcept;

  template <class Function>
  [[nodiscard]] Function* find(const char* symbol) const noexcept {
    return reinterpret_cast<Function*>(find(symbol));
  }

  // Where the loader found the file, symbolic links resolved.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  // The library's own name for itself (DT_SONAME); empty if it has none.
  [[nodiscard]] const std::string& soname() const noexcept { return soname_; }

 private:
  void* handle_ = nullptr;
  std::filesystem::path path_;
  std::string soname_;
};

}  // namespace fasttrt
