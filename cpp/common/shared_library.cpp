#include "common/shared_library.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <system_error>

#include "common/error.hpp"

namespace fasttrt {
namespace {

std::string read_soname(const link_map& map) {
  const char* strings = nullptr;
  const ElfW(Dyn)* name = nullptr;
  for (const auto* entry = map.l_ld; entry != nullptr && entry->d_tag != DT_NULL; ++entry) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the loader has put an address there
    if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(entry->d_un.d_ptr);
    if (entry->d_tag == DT_SONAME) name = entry;
  }
  return (strings != nullptr && name != nullptr) ? strings + name->d_un.d_val : "";
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& name)
    : handle_(dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
  if (handle_ == nullptr) {
    const char* reason = dlerror();
    throw LibraryNotFoundError(reason != nullptr ? reason : name + ": cannot be opened");
  }
  link_map* map = nullptr;
  if (dlinfo(handle_, RTLD_DI_LINKMAP, static_cast<void*>(&map)) == 0 && map != nullptr) {
    soname_ = read_soname(*map);
    std::error_code ignored;
    path_ = std::filesystem::canonical(map->l_name, ignored);
  }
  if (path_.empty()) path_ = name;
}

void* SharedLibrary::find(const char* symbol) const noexcept { return dlsym(handle_, symbol); }

}  // namespace fasttrt
