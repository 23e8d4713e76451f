// One release's headers, made ready for the header check.
#pragma once

#include <NvInfer.h>
#include <NvInferPlugin.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>

#include "nvinfer/abi.hpp"
#include "nvinfer/version.hpp"

// The parser's header has a repository of its own, and is not with every copy of the others.
#if __has_include(<NvOnnxParser.h>)
#include <NvOnnxParser.h>
inline constexpr bool has_parser = true;
#else
inline constexpr bool has_parser = false;
#endif

// What a release may lack altogether. Name lookup comes here last, only where the vendor has
// nothing of that name, and finds an incomplete type.
namespace nvinfer1 {
namespace missing {
class ExecutionContextAllocationStrategy;
class InterfaceInfo;
class IProgressMonitor;
class DynamicShapesKernelSpecializationStrategy;
class IRuntimeConfig;
class IRuntimeCache;
class ISerializationConfig;
class SerializationFlag;
}  // namespace missing
using namespace missing;
namespace apiv {
namespace missing {
class VRuntimeConfig;
class VRuntimeCache;
class VSerializationConfig;
}  // namespace missing
using namespace missing;
}  // namespace apiv
}  // namespace nvinfer1
namespace nvonnxparser {
namespace missing {
class IParser;
class IParserError;
class IParserRefitter;
class OnnxParserFlag;
}  // namespace missing
using namespace missing;
}  // namespace nvonnxparser

namespace fasttrt::nvinfer {

namespace vendor {
using namespace nvinfer1;
using namespace nvinfer1::apiv;
using namespace nvonnxparser;
using Severity = nvinfer1::ILogger::Severity;
}  // namespace vendor

inline constexpr Version version{NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH};
#ifdef TRT_MAJOR_RTX
inline constexpr auto family = Family::rtx;
inline constexpr auto generation = Generation::rtx;
#else
inline constexpr auto family = Family::tensorrt;
inline constexpr auto generation = version.major == 8    ? Generation::v8
                                   : version.major == 10 ? Generation::v10
                                                         : Generation::v11;
#endif
inline constexpr bool is_v8 = generation == Generation::v8;
inline constexpr auto column = static_cast<std::size_t>(generation);
inline constexpr std::int32_t number =
    version.major * (is_v8 ? 1000 : 10000) + version.minor * 100 + version.patch;
using RawDims = std::conditional_t<is_v8, abi::Dims32, abi::Dims64>;

struct Tally {
  int methods = 0;
  int enumerators = 0;
  int layouts = 0;
  int functions = 0;
  int absent_methods = 0;
  int absent_enumerators = 0;
  int unused_enumerators = 0;
  int skipped = 0;
  int mismatches = 0;

  void expect(bool same, const std::string& otherwise) {
    if (same) return;
    ++mismatches;
    std::printf("MISMATCH %s\n", otherwise.c_str());
  }
};
inline Tally tally;

template <class T>
concept Complete = requires { sizeof(T); };

template <class T>
inline constexpr bool of_parser =
    std::is_same_v<T, vendor::IParser> || std::is_same_v<T, vendor::IParserError> ||
    std::is_same_v<T, vendor::IParserRefitter> || std::is_same_v<T, vendor::OnnxParserFlag>;

// The implementations in the table, each with a public object before it.
// clang-format off
#define FASTTRT_OBJECTS(X)                                                                  \
  X(HostMemory) X(TimingCache) X(Tensor) X(NetworkDefinition) X(Builder)                    \
  X(OptimizationProfile) X(BuilderConfig) X(Runtime) X(CudaEngine) X(ExecutionContext)      \
  X(RuntimeConfig) X(RuntimeCache) X(SerializationConfig) X(EngineInspector) X(Refitter)
// clang-format on

void check_layouts();
void check_functions();

}  // namespace fasttrt::nvinfer
