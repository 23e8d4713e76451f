// Compares what fasttrt assumes of the vendor's binaries with the vendor's own headers of one
// release: methods' slots and signatures, enumerators, layouts, and the interfaces that TensorRT
// calls. It includes the tables themselves, so nothing in them can be left out. Prints every
// mismatch and exits with 1 if there is one; CONTRIBUTING.md says when to run it.
#include <NvInfer.h>
#include <NvInferPlugin.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/error.hpp"
#include "nvinfer/abi_compare.hpp"
#include "nvinfer/callbacks.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/methods.hpp"
#include "nvinfer/version.hpp"

// The parser's header has a repository of its own, and is not with every copy of the others.
#if __has_include(<NvOnnxParser.h>)
#include <NvOnnxParser.h>
constexpr bool has_parser = true;
#else
constexpr bool has_parser = false;
#endif

// What a release may lack altogether. Name lookup comes here last, only where the vendor has
// nothing of that name, and finds an incomplete type.
namespace nvinfer1 {
namespace missing {
class ExecutionContextAllocationStrategy;
class InterfaceInfo;
class IProgressMonitor;
}  // namespace missing
using namespace missing;
}  // namespace nvinfer1
namespace nvonnxparser {
namespace missing {
class IParser;
class IParserError;
class OnnxParserFlag;
}  // namespace missing
using namespace missing;
}  // namespace nvonnxparser

namespace fasttrt::nvinfer {
namespace {

namespace vendor {
using namespace nvinfer1;
using namespace nvinfer1::apiv;
using namespace nvonnxparser;
using Severity = nvinfer1::ILogger::Severity;
}  // namespace vendor

constexpr Version version{NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH};
#ifdef TRT_MAJOR_RTX
constexpr auto family = Family::rtx;
constexpr auto generation = Generation::rtx;
#else
constexpr auto family = Family::tensorrt;
constexpr auto generation = version.major == 8    ? Generation::v8
                            : version.major == 10 ? Generation::v10
                                                  : Generation::v11;
#endif
constexpr bool is_v8 = generation == Generation::v8;
constexpr auto column = static_cast<std::size_t>(generation);
constexpr std::int32_t number = version.major * (is_v8 ? 1000 : 10000) + version.minor * 100 +
                                version.patch;
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
Tally tally;

template <class T>
concept Complete = requires { sizeof(T); };

template <class T>
constexpr bool of_parser = std::is_same_v<T, vendor::IParser> ||
                           std::is_same_v<T, vendor::IParserError> ||
                           std::is_same_v<T, vendor::OnnxParserFlag>;

// The implementations in the table, each with a public object before it.
#define OBJECTS(X)                                                               \
  X(HostMemory) X(TimingCache) X(Tensor) X(NetworkDefinition) X(Builder)         \
  X(OptimizationProfile) X(BuilderConfig) X(Runtime) X(CudaEngine) X(ExecutionContext)
template <class T>
constexpr bool has_object = false;
#define OBJECT(name) \
  template <>        \
  constexpr bool has_object<vendor::V##name> = true;
OBJECTS(OBJECT)
#undef OBJECT

template <class Interface, class R, class... A, class Find>
void check_method(const Method<R(A...)>& method, const Find& find) {
  static_assert(has_object<Interface> || of_parser<Interface>, "add it to OBJECTS");
  using Signature = abi::Result<R, RawDims>(typename abi::Pass<A, RawDims>::Type...);
  using PickOurs = Pick<typename abi::Pass<A, RawDims>::Type...>;
  if constexpr (of_parser<Interface> && !has_parser) {
    ++tally.skipped;
    return;
  }
  const Slot& ours = method.slots[column];
  const auto name = std::string(method.interface) + "::" + method.name;
  std::optional<std::size_t> theirs;
  bool same_signature = false;
  if constexpr (std::is_invocable_v<Find, PickOurs, Interface*>) {
    const auto found = find(PickOurs(), static_cast<Interface*>(nullptr));
    theirs = found.slot;
    same_signature = same_function<Signature, typename decltype(found)::Type>;
  }
  const bool same_slot = theirs == static_cast<std::size_t>(ours.index);
  const auto there = theirs ? " at slot " + std::to_string(*theirs) : "";
  if (ours.present(number)) {
    ++tally.methods;
    tally.expect(theirs.has_value(), name + " is in the table, not in the headers");
    tally.expect(!theirs || same_signature, name + " has another signature");
    tally.expect(!theirs || same_slot, name + " is" + there + ", not " +
                                           std::to_string(ours.index));
  } else {
    ++tally.absent_methods;
    // Before the release that `since` names it may have been at another slot.
    const bool usable = same_signature && (ours.index < 0 || same_slot);
    tally.expect(!usable, name + " is not in the table, but in the headers" + there);
  }
}

template <class Enumeration, class Find>
void check_enumerator(const Enumerator& enumerator, const Find& find) {
  if constexpr (of_parser<Enumeration> && !has_parser) {
    ++tally.skipped;
    return;
  }
  const Slot& ours = enumerator.values[column];
  const auto name = std::string(enumerator.enumeration) + "::" + enumerator.name;
  std::optional<std::int64_t> theirs;
  if constexpr (std::is_invocable_v<Find, std::type_identity<Enumeration>>) {
    static_assert(same_abi<std::int32_t, Enumeration>());
    theirs = static_cast<std::int64_t>(find(std::type_identity<Enumeration>()));
  }
  if (ours.present(number)) {
    ++tally.enumerators;
    tally.expect(theirs.has_value(), name + " is in the table, not in the headers");
    tally.expect(!theirs || *theirs == ours.index,
                 name + " is " + std::to_string(theirs.value_or(-1)) + ", not " +
                     std::to_string(ours.index));
  } else if (theirs && ours.index < 0) {
    ++tally.unused_enumerators;
  } else {
    ++tally.absent_enumerators;
    tally.expect(!theirs, name + " is in the headers before the table's `since`");
  }
}

void check_tables() {
#define METHOD(identifier, interface, name, ...) \
  check_method<vendor::interface>(methods::identifier, FASTTRT_FIND(name));
#include "nvinfer/methods.inc"
#undef METHOD
#define ENUMERATOR(identifier, enumeration, name, ...) \
  check_enumerator<vendor::enumeration>(               \
      enums::identifier,                               \
      []<class E>(std::type_identity<E>) -> decltype(E::name) { return E::name; });
#include "nvinfer/enums.inc"
#undef ENUMERATOR
}

template <class Ours, class Theirs>
void check_dims() {
  ++tally.layouts;
  tally.expect(same_abi<Ours, Theirs>() && Theirs::MAX_DIMS == max_rank &&
                   offsetof(Ours, rank) == offsetof(Theirs, nbDims) &&
                   offsetof(Ours, extents) == offsetof(Theirs, d) &&
                   std::is_same_v<decltype(Ours::rank), decltype(Theirs::nbDims)> &&
                   std::is_same_v<typename decltype(Ours::extents)::value_type,
                                  std::remove_extent_t<decltype(Theirs::d)>>,
               "Dims have another layout");
}

template <class Ours, class Theirs>
void check_interface_info() {
  if constexpr (Complete<Theirs>) {
    ++tally.layouts;
    tally.expect(same_abi<Ours, Theirs>() && offsetof(Ours, kind) == offsetof(Theirs, kind) &&
                     offsetof(Ours, major) == offsetof(Theirs, major) &&
                     offsetof(Ours, minor) == offsetof(Theirs, minor) &&
                     std::is_same_v<decltype(Ours::kind), decltype(Theirs::kind)> &&
                     std::is_same_v<decltype(Ours::major), decltype(Theirs::major)> &&
                     std::is_same_v<decltype(Ours::minor), decltype(Theirs::minor)>,
                 "InterfaceInfo has another layout");
  }
}

template <class Object>
struct Opened : Object {
  static constexpr auto implementation = &Opened::mImpl;
};

// Two words, of which the second leads to the implementation; its own vtable begins with the
// destructors.
template <class Object, class Implementation>
void check_object(const std::string& name) {
  ++tally.layouts;
  constexpr auto implementation = Opened<Object>::implementation;
  tally.expect(std::is_same_v<decltype(implementation), Implementation* Object::*const> &&
                   std::bit_cast<std::size_t>(implementation) == sizeof(void*) &&
                   sizeof(Object) == 2 * sizeof(void*),
               name + " is not a vtable and a pointer to its implementation");
  const auto slot = deleting_slot<Object>();
  tally.expect(slot == deleting_destructor,
               name + "'s deleting destructor is at slot " + std::to_string(slot));
}

template <class Parser>
void check_parser() {
  if constexpr (Complete<Parser>) {
    ++tally.layouts;
    std::optional<std::size_t> slot;
    constexpr auto destroy = FASTTRT_FIND(destroy);
    if constexpr (std::is_invocable_v<decltype(destroy), Pick<>, Parser*>) {
      slot = destroy(Pick(), static_cast<Parser*>(nullptr)).slot;
    } else {
      slot = deleting_slot<Parser>();
    }
    tally.expect(slot == parser_deleting_destructor[column],
                 "IParser is deleted at slot " + std::to_string(slot.value_or(0)));
  }
}

template <class Ours, class Theirs, class FindOurs, class FindTheirs>
void check_callback(const std::string& name, const FindOurs& find, const FindTheirs& find_theirs) {
  constexpr bool have = std::is_invocable_v<FindOurs, Pick<>, Ours*>;
  constexpr bool they_have = std::is_invocable_v<FindTheirs, Pick<>, Theirs*>;
  if constexpr (have && they_have) {
    ++tally.methods;
    const auto ours = find(Pick(), static_cast<Ours*>(nullptr));
    const auto theirs = find_theirs(Pick(), static_cast<Theirs*>(nullptr));
    tally.expect(ours.slot && ours.slot == theirs.slot, name + " is at another slot");
    tally.expect(same_function<typename decltype(ours)::Type, typename decltype(theirs)::Type>,
                 name + " has another signature");
  } else {
    tally.expect(have == they_have, name + (have ? " is only ours" : " is only the vendor's"));
  }
}

// Our class in the vendor's layout: the same slots, also of the destructors, and the same answer
// to who it is.
template <class Ours, class Theirs>
void check_interface(const std::string& name) {
  if constexpr (Complete<Theirs>) {
    ++tally.layouts;
    tally.expect(sizeof(Ours) == sizeof(Theirs), name + " has another size");
    tally.expect(deleting_slot<Ours>() == deleting_slot<Theirs>(),
                 name + " has its destructors elsewhere");
#define CALLBACK(ours, theirs)                                                         \
  check_callback<Ours, Theirs>(name + "::" + #theirs, FASTTRT_FIND(ours), FASTTRT_FIND(theirs));
    CALLBACK(get_api_language, getAPILanguage)
    CALLBACK(get_interface_info, getInterfaceInfo)
    CALLBACK(get_interface_version, getInterfaceVersion)
    CALLBACK(log, log)
    CALLBACK(report_layer_time, reportLayerTime)
    CALLBACK(phase_start, phaseStart)
    CALLBACK(step_complete, stepComplete)
    CALLBACK(phase_finish, phaseFinish)
    CALLBACK(reallocate_output, reallocateOutput)
    CALLBACK(reallocate_output_async, reallocateOutputAsync)
    CALLBACK(notify_shape, notifyShape)
#undef CALLBACK
    Stand<Ours> ours;
    Stand<Theirs> theirs;
    if constexpr (requires { theirs->Theirs::getInterfaceInfo(); }) {
      const auto a = ours->Ours::get_interface_info();
      const auto b = theirs->Theirs::getInterfaceInfo();
      tally.expect(std::string_view(a.kind) == b.kind && a.major == b.major && a.minor == b.minor,
                   name + " is another version of the interface");
    }
  }
}

void check_layouts() {
  check_dims<RawDims, vendor::Dims>();
  check_interface_info<abi::InterfaceInfo, vendor::InterfaceInfo>();
#define OBJECT(name) check_object<vendor::I##name, vendor::V##name>("I" #name);
  OBJECTS(OBJECT)
#undef OBJECT
  check_parser<vendor::IParser>();

  constexpr bool before_v11 = is_v8 || generation == Generation::v10;
  constexpr bool is_rtx = generation == Generation::rtx;
  using Logger = std::conditional_t<before_v11, abi::LoggerV8, abi::LoggerV11>;
  using Profiler = std::conditional_t<before_v11, abi::ProfilerV8, abi::ProfilerV11>;
  using Allocator = std::conditional_t<is_rtx, abi::OutputAllocatorRtx, abi::OutputAllocatorV10>;
  check_interface<Logger, vendor::ILogger>("ILogger");
  check_interface<Profiler, vendor::IProfiler>("IProfiler");
  check_interface<abi::ProgressMonitor, vendor::IProgressMonitor>("IProgressMonitor");
  check_interface<std::conditional_t<is_v8, abi::OutputAllocatorV8, Allocator>,
                  vendor::IOutputAllocator>("IOutputAllocator");
}

template <class Ours, class Theirs>
void check_function(const std::string& name) {
  ++tally.functions;
  tally.expect(same_function<Ours, Theirs>, name + " has another signature");
}

void check_functions() {
  using Create = void*(void*, std::int32_t);
  check_function<std::int32_t(), decltype(getInferLibVersion)>("getInferLibVersion");
  check_function<Create, decltype(createInferBuilder_INTERNAL)>("createInferBuilder_INTERNAL");
  check_function<Create, decltype(createInferRuntime_INTERNAL)>("createInferRuntime_INTERNAL");
  check_function<bool(void*, const char*), decltype(initLibNvInferPlugins)>(
      "initLibNvInferPlugins");
#if __has_include(<NvOnnxParser.h>)
  check_function<std::int32_t(), decltype(getNvOnnxParserVersion)>("getNvOnnxParserVersion");
  check_function<void*(void*, void*, std::int32_t), decltype(createNvOnnxParser_INTERNAL)>(
      "createNvOnnxParser_INTERNAL");
#endif
}

void check_version() {
  tally.expect(generation_of(family, version) == generation, "it is taken for another generation");
  tally.expect(Version::decode(family, number) == version, "its number is read wrongly");
}

int check() {
  check_version();
  check_tables();
  check_layouts();
  check_functions();
  std::printf("%s %s (%d): %d methods, %d enumerators, %d layouts, %d functions compared. ",
              std::string(product_name(family)).c_str(), version.str().c_str(), number,
              tally.methods, tally.enumerators, tally.layouts, tally.functions);
  std::printf("Absent, as in the tables: %d methods, %d enumerators. Not used here: %d. ",
              tally.absent_methods, tally.absent_enumerators, tally.unused_enumerators);
  if (!has_parser) std::printf("No NvOnnxParser.h: %d entries left out. ", tally.skipped);
  std::printf("Mismatches: %d\n", tally.mismatches);
  return tally.mismatches == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fasttrt::nvinfer

int main() {
  try {
    return fasttrt::nvinfer::check();
  } catch (const fasttrt::Error& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
