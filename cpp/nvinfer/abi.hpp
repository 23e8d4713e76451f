// Vendor types as they cross the call, for the Itanium C++ ABI (Linux x86-64 and aarch64).
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "nvinfer/dims.hpp"

namespace fasttrt::nvinfer::abi {

struct Dims32 {  // generation v8
  std::int32_t rank = 0;
  std::array<std::int32_t, max_rank> sizes{};
};

struct Dims64 {  // v10 and later
  std::int32_t rank = 0;
  std::array<std::int64_t, max_rank> sizes{};
};

struct InterfaceInfo {
  const char* kind = nullptr;
  std::int32_t major = 0;
  std::int32_t minor = 0;
};

[[nodiscard]] inline Dims widen(const Dims32& dims) noexcept {
  Dims result(dims.rank);
  for (int i = 0; i < result.rank(); ++i) result[i] = dims.sizes[static_cast<std::size_t>(i)];
  return result;
}

[[nodiscard]] inline Dims widen(const Dims64& dims) noexcept {
  Dims result(dims.rank);
  for (int i = 0; i < result.rank(); ++i) result[i] = dims.sizes[static_cast<std::size_t>(i)];
  return result;
}

// Sizes beyond 32 bits are refused before this (see check_shape in the handles).
template <class Raw>
[[nodiscard]] Raw narrow(const Dims& dims) noexcept {
  Raw raw;
  raw.rank = dims.rank();
  for (int i = 0; i < dims.rank(); ++i) {
    auto& size = raw.sizes[static_cast<std::size_t>(i)];
    size = static_cast<std::remove_reference_t<decltype(size)>>(dims[i]);
  }
  return raw;
}

// Signature tags: how a method takes dimensions. Everything else is passed as it is written.
struct DimsRef {};   // Dims const&
struct DimsCopy {};  // Dims by value (v8 only)

// Pass<Tag, Raw>: what the compiled method's parameter looks like, Raw being Dims32 or Dims64.
template <class T, class Raw>
struct Pass {
  using Type = T;
  static T wrap(T value) noexcept { return value; }
};

template <class Raw>
struct Pass<DimsRef, Raw> {
  using Type = const Raw*;
  struct Holder {  // lives until the call's full expression ends
    Raw raw;
    operator const Raw*() const noexcept { return &raw; }  // NOLINT(google-explicit-constructor)
  };
  static Holder wrap(const Dims& dims) noexcept { return {narrow<Raw>(dims)}; }
};

template <class Raw>
struct Pass<DimsCopy, Raw> {
  using Type = Raw;
  static Raw wrap(const Dims& dims) noexcept { return narrow<Raw>(dims); }
};

// What a caller writes for a tagged parameter.
template <class T>
using Argument =
    std::conditional_t<std::is_same_v<T, DimsRef> || std::is_same_v<T, DimsCopy>, const Dims&, T>;

template <class R, class Raw>
using Result = std::conditional_t<std::is_same_v<R, Dims>, Raw, R>;

// Calls slot `index` of `vtable` with `self` as `this`.
template <class Raw, class R, class... A>
R invoke(void* self, std::size_t index, Argument<A>... arguments) noexcept {
  using Function = Result<R, Raw> (*)(void*, typename Pass<A, Raw>::Type...);
  const auto* vtable = *static_cast<void* const* const*>(self);
  const auto function = reinterpret_cast<Function>(vtable[index]);
  if constexpr (std::is_same_v<R, Dims>) {
    return widen(function(self, Pass<A, Raw>::wrap(arguments)...));
  } else {
    return function(self, Pass<A, Raw>::wrap(arguments)...);
  }
}

}  // namespace fasttrt::nvinfer::abi
