// A profiler's part of NVTX, for tests: notes the ranges of each thread, as lines that a test may
// read: "push DOMAIN NAME" and "pop DOMAIN".
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>

namespace {

using Function = void (*)();

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): the tool is one
std::mutex mutex;
std::string lines;  // NOLINT: a test process ends before it

void note(const std::string& line) {
  const std::lock_guard lock(mutex);
  lines += line + "\n";
  if (const char* const path = std::getenv("FASTTRT_TEST_NVTX_FILE")) {
    std::ofstream(path, std::ios::app) << line << "\n";
  }
}

struct Callbacks {
  std::size_t size;
  int (*module_functions)(unsigned int module, Function*** table, unsigned int* count);
};

struct Attributes {
  std::uint16_t version;
  std::uint16_t size;
  std::uint32_t before_payload[5];  // NOLINT: the layout is NVTX's
  std::uint64_t payload;
  std::int32_t message_type;
  const char* message;
};

void* create(const char* name) { return new std::string(name); }

int push(void* domain, const Attributes* attributes) {
  const bool is_right =
      attributes->version == 3 && attributes->size == 48 && attributes->message_type == 1;
  note("push " + *static_cast<std::string*>(domain) + " " +
       (is_right ? attributes->message : "WRONG ATTRIBUTES"));
  return 0;
}

int pop(void* domain) {
  note("pop " + *static_cast<std::string*>(domain));
  return 0;
}

}  // namespace

extern "C" {

// NOLINTNEXTLINE(readability-identifier-naming): the name that NVTX looks up
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    const void* (*export_table)(std::uint32_t)) {
  const auto* const callbacks = static_cast<const Callbacks*>(export_table(1));
  if (callbacks == nullptr || callbacks->size < sizeof(Callbacks)) return 0;
  for (unsigned int module = 1; module <= 6; ++module) {
    Function** table = nullptr;
    unsigned int count = 0;
    if (callbacks->module_functions(module, &table, &count) == 0) return 0;
    for (unsigned int i = 1; i < count; ++i) {
      if (table[i] == nullptr || *table[i] != nullptr) return 0;
    }
    if (table[count] != nullptr) return 0;
    if (module != 5) continue;
    *table[4] = reinterpret_cast<Function>(&push);
    *table[5] = reinterpret_cast<Function>(&pop);
    *table[12] = reinterpret_cast<Function>(&create);
  }
  return 1;
}

// What was noted so far.
__attribute__((visibility("default"))) const char* fasttrt_test_nvtx_lines() {
  return lines.c_str();
}
}
