// Which TensorRT a library is: family, release and the generation of its C++ ABI.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace fasttrt::nvinfer {

// tensorrt: the full library. lean: the runtime alone (no builder, no parser). rtx: TensorRT-RTX.
enum class Family : std::uint8_t { tensorrt, lean, rtx };

// One column of the slot and enumerator tables. RTX shares v11's layouts but not all its slots.
enum class Generation : std::uint8_t { v8, v10, v11, rtx };
inline constexpr std::size_t generation_count = 4;

struct Version {
  std::int32_t major = 0;
  std::int32_t minor = 0;
  std::int32_t patch = 0;

  // From getInferLibVersion(): 8.6.0 is 8600; from 10 on, and for RTX, major*10000 + minor*100 +
  // patch.
  [[nodiscard]] static Version decode(Family family, std::int32_t number) noexcept;

  [[nodiscard]] std::string str() const;
  friend auto operator<=>(const Version&, const Version&) = default;
};

[[nodiscard]] std::string_view family_name(Family family) noexcept;              // "tensorrt", ...
[[nodiscard]] std::string_view product_name(Family family) noexcept;             // "TensorRT", ...
[[nodiscard]] std::string_view generation_name(Generation generation) noexcept;  // "v8", ...

// Throws UnsupportedLibraryError, naming what is supported, for a release without a table.
[[nodiscard]] Generation generation_of(Family family, const Version& version);

}  // namespace fasttrt::nvinfer
