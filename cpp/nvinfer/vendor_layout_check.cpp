// The header check's second half: what lies in memory, the interfaces that TensorRT calls, and the
// C entry points.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "nvinfer/abi_compare.hpp"
#include "nvinfer/callbacks.hpp"
#include "nvinfer/methods.hpp"
#include "nvinfer/vendor_release.hpp"

namespace fasttrt::nvinfer {
namespace {

template <class Ours, class Theirs>
void check_dims() {
  ++tally.layouts;
  tally.expect(same_abi<Ours, Theirs>() && Theirs::MAX_DIMS == max_rank &&
                   offsetof(Ours, rank) == offsetof(Theirs, nbDims) &&
                   offsetof(Ours, sizes) == offsetof(Theirs, d) &&
                   std::is_same_v<decltype(Ours::rank), decltype(Theirs::nbDims)> &&
                   std::is_same_v<typename decltype(Ours::sizes)::value_type,
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
  if constexpr (Complete<Object>) {
    ++tally.layouts;
    constexpr auto implementation = Opened<Object>::implementation;
    tally.expect(std::is_same_v<decltype(implementation), Implementation * Object::* const> &&
                     std::bit_cast<std::size_t>(implementation) == sizeof(void*) &&
                     sizeof(Object) == 2 * sizeof(void*),
                 name + " is not a vtable and a pointer to its implementation");
    const auto slot = deleting_slot<Object>();
    tally.expect(slot == deleting_destructor,
                 name + "'s deleting destructor is at slot " + std::to_string(slot));
  }
}

// As the others, but its implementation has a name of its own, and the network deletes it.
void check_layer() {
  struct Opened : vendor::ILayer {
    static std::size_t implementation() { return std::bit_cast<std::size_t>(&Opened::mLayer); }
  };
  ++tally.layouts;
  tally.expect(
      Opened::implementation() == sizeof(void*) && sizeof(vendor::ILayer) == 2 * sizeof(void*),
      "ILayer is not a vtable and a pointer to its implementation");
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

template <class Refitter>
void check_parser_refitter() {
  if constexpr (Complete<Refitter>) {
    ++tally.layouts;
    const auto slot = deleting_slot<Refitter>();
    tally.expect(slot == parser_refitter_deleting_destructor,
                 "IParserRefitter's deleting destructor is at slot " + std::to_string(slot));
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
#define CALLBACK(ours, theirs) \
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

template <class Ours, class Theirs>
void check_function(const std::string& name) {
  ++tally.functions;
  tally.expect(same_function<Ours, Theirs>, name + " has another signature");
}

}  // namespace

void check_layouts() {
  check_dims<RawDims, vendor::Dims>();
  check_interface_info<abi::InterfaceInfo, vendor::InterfaceInfo>();
#define OBJECT(name) check_object<vendor::I##name, vendor::V##name>("I" #name);
  FASTTRT_OBJECTS(OBJECT)
#undef OBJECT
  check_layer();
  check_parser<vendor::IParser>();
  check_parser_refitter<vendor::IParserRefitter>();

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

void check_functions() {
  using Create = void*(void*, std::int32_t);
  using CreateWith = void*(void*, void*, std::int32_t);
  check_function<std::int32_t(), decltype(getInferLibVersion)>("getInferLibVersion");
  check_function<Create, decltype(createInferBuilder_INTERNAL)>("createInferBuilder_INTERNAL");
  check_function<Create, decltype(createInferRuntime_INTERNAL)>("createInferRuntime_INTERNAL");
  check_function<CreateWith, decltype(createInferRefitter_INTERNAL)>(
      "createInferRefitter_INTERNAL");
  check_function<void*(), decltype(getPluginRegistry)>("getPluginRegistry");
  check_function<bool(void*, const char*), decltype(initLibNvInferPlugins)>(
      "initLibNvInferPlugins");
#if __has_include(<NvOnnxParser.h>)
  check_function<std::int32_t(), decltype(getNvOnnxParserVersion)>("getNvOnnxParserVersion");
  check_function<CreateWith, decltype(createNvOnnxParser_INTERNAL)>("createNvOnnxParser_INTERNAL");
#if NV_TENSORRT_MAJOR != 8
  check_function<CreateWith, decltype(createNvOnnxParserRefitter_INTERNAL)>(
      "createNvOnnxParserRefitter_INTERNAL");
#endif
#endif
}

}  // namespace fasttrt::nvinfer
