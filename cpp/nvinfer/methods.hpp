// Slot tables: for each vendor method its place in the implementation's vtable, by generation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "nvinfer/abi.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {

struct Slot {
  std::int16_t index = -1;
  std::int32_t since = 0;   // the first release that has it, as getInferLibVersion() counts
  std::int32_t before = 0;  // the first that has it no more; 0: all later ones have it

  [[nodiscard]] constexpr bool present(std::int32_t version_number) const noexcept {
    return index >= 0 && version_number >= since && (before == 0 || version_number < before);
  }
};

struct MethodInfo {
  const char* interface = nullptr;
  const char* name = nullptr;
  std::array<Slot, generation_count> slots;
};

// The signature is part of the type, so a call with other arguments does not compile.
template <class Signature>
struct Method : MethodInfo {};

namespace methods {

consteval Slot at(std::int16_t index) { return {index}; }
consteval Slot since(std::int16_t index, std::int32_t version) { return {index, version}; }
consteval Slot until(std::int16_t index, std::int32_t version) { return {index, 0, version}; }
inline constexpr Slot none{};

#define METHOD(identifier, interface, name, signature, ...) \
  inline constexpr Method<signature> identifier{{#interface, #name, {{__VA_ARGS__}}}};
#include "nvinfer/methods.inc"
#undef METHOD

}  // namespace methods

// Where the deleting destructor stands: slot 1 of every object's own vtable...
inline constexpr std::size_t deleting_destructor = 1;
// ... but after other methods in the parser's. In v8 its place moved between 8.6.0 and 8.6.1, so
// there it is destroy(), which does the same.
inline constexpr std::array<std::size_t, generation_count> parser_deleting_destructor{5, 9, 7, 7};
// v10 and later; v8 has no such class.
inline constexpr std::size_t parser_refitter_deleting_destructor = 6;

}  // namespace fasttrt::nvinfer
