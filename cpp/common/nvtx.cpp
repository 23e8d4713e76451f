#include "common/nvtx.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>

#include "common/shared_library.hpp"

namespace fasttrt::nvtx {
namespace {

// What a tool is given: for each of NVTX's modules a table of the addresses of function pointers.
// It sets those of the functions that it implements, by their numbers, which never change.
using Function = void (*)();
constexpr std::size_t most_functions = 16;
constexpr unsigned int core2_module = 5;  // ranges in domains
constexpr std::array<unsigned int, 7> function_counts = {0, 16, 9, 15, 7, 16, 7};

// NOLINTNEXTLINE(cppcoreguidelines-use-enum-class): they are places in an array
enum Core2 : std::size_t { domain_range_push = 4, domain_range_pop = 5, domain_create = 12 };

struct Module {
  std::array<Function, most_functions> functions{};
  std::array<Function*, most_functions + 1> table{};  // ends with null
};

// Those of other modules than ours are set and never called.
std::array<Module, function_counts.size()>& modules() {
  static auto& all = *[] {
    auto* const made = new std::array<Module, function_counts.size()>();
    for (std::size_t module = 0; module < made->size(); ++module) {
      auto& [functions, table] = (*made)[module];
      for (std::size_t i = 1; i < function_counts[module]; ++i) table[i] = &functions[i];
    }
    return made;  // never freed: the tool holds the addresses
  }();
  return all;
}

int module_functions(unsigned int module, Function*** table, unsigned int* count) {
  if (module == 0 || module >= function_counts.size()) return 0;
  if (table != nullptr) *table = modules()[module].table.data();
  if (count != nullptr) *count = function_counts[module];
  return 1;
}

struct Callbacks {
  std::size_t size = sizeof(Callbacks);
  int (*module_functions)(unsigned int, Function***, unsigned int*) = &nvtx::module_functions;
};

struct Versions {
  std::size_t size = sizeof(Versions);
  std::uint32_t version = 3;
  std::uint32_t reserved = 0;
  void (*set_tool_version)(std::uint32_t) = [](std::uint32_t) {};
};

const void* export_table(std::uint32_t id) {
  static const Callbacks callbacks;
  static const Versions versions;
  if (id == 1) return &callbacks;
  if (id == 3) return &versions;
  return nullptr;
}

// nvtxEventAttributes_t
struct Attributes {
  std::uint16_t version = 3;
  std::uint16_t size = 48;
  std::uint32_t category = 0;
  std::int32_t color_type = 0;
  std::uint32_t color = 0;
  std::int32_t payload_type = 0;
  std::int32_t reserved = 0;
  std::uint64_t payload = 0;
  std::int32_t message_type = 1;  // char*
  const char* message = nullptr;
};
static_assert(sizeof(Attributes) == 48);

using DomainCreate = void*(const char* name);
using DomainRangePush = int(void* domain, const Attributes* attributes);
using DomainRangePop = int(void* domain);

template <class Signature>
Signature* core2(Core2 function) {
  return reinterpret_cast<Signature*>(modules()[core2_module].functions[function]);
}

struct Tool {
  DomainRangePush* push = nullptr;
  DomainRangePop* pop = nullptr;
  void* domain = nullptr;
};

// Empty where there is no tool, or one that takes no ranges.
Tool attach() noexcept {
  const char* const path = std::getenv("NVTX_INJECTION64_PATH");
  if (path == nullptr || *path == '\0') return {};
  try {
    const SharedLibrary library(path);
    auto* const initialize =
        library.find<int(const void* (*)(std::uint32_t))>("InitializeInjectionNvtx2");
    if (initialize == nullptr || initialize(&export_table) == 0) return {};
  } catch (const std::exception&) {
    return {};  // as other programs do, which run without the tool then
  }
  auto* const create = core2<DomainCreate>(domain_create);
  const Tool tool{core2<DomainRangePush>(domain_range_push),
                  core2<DomainRangePop>(domain_range_pop),
                  create != nullptr ? create("fasttrt") : nullptr};
  return tool.push != nullptr && tool.pop != nullptr ? tool : Tool();
}

const Tool& tool() noexcept {
  static const Tool attached = attach();
  return attached;
}

}  // namespace

bool is_recording() noexcept { return tool().push != nullptr; }

Range::Range(const char* name) noexcept : is_open_(is_recording()) {
  if (!is_open_) return;
  Attributes attributes;
  attributes.message = name;
  tool().push(tool().domain, &attributes);
}

Range::~Range() {
  if (is_open_) tool().pop(tool().domain);
}

}  // namespace fasttrt::nvtx
