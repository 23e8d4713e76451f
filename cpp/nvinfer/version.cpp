#include "nvinfer/version.hpp"

#include "common/error.hpp"

namespace fasttrt::nvinfer {

Version Version::decode(Family family, std::int32_t number) noexcept {
  if (family != Family::rtx && number < 10000) {
    return {number / 1000, (number / 100) % 10, number % 100};
  }
  return {number / 10000, (number / 100) % 100, number % 100};
}

std::string Version::str() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

std::string_view family_name(Family family) noexcept {
  switch (family) {
    case Family::tensorrt: return "tensorrt";
    case Family::lean: return "lean";
    case Family::rtx: return "rtx";
  }
  return "unknown";
}

std::string_view product_name(Family family) noexcept {
  switch (family) {
    case Family::tensorrt: return "TensorRT";
    case Family::lean: return "TensorRT lean runtime";
    case Family::rtx: return "TensorRT-RTX";
  }
  return "unknown";
}

std::string_view generation_name(Generation generation) noexcept {
  switch (generation) {
    case Generation::v8: return "v8";
    case Generation::v10: return "v10";
    case Generation::v11:
    case Generation::rtx: return "v11";
  }
  return "unknown";
}

Generation generation_of(Family family, const Version& version) {
  if (family == Family::rtx) {
    if (version.major == 1 && version.minor >= 5) return Generation::rtx;
  } else {
    if (version.major == 8 && version.minor >= 6) return Generation::v8;
    if (version.major == 10) return Generation::v10;
    if (version.major == 11) return Generation::v11;
  }
  throw UnsupportedLibraryError(
      std::string(product_name(family)) + " " + version.str() +
      " is not supported: fasttrt binds TensorRT 8.6, 10.x and 11.x, their lean runtimes, and "
      "TensorRT-RTX 1.5 or later 1.x");
}

}  // namespace fasttrt::nvinfer
