// Compares what fasttrt assumes of the vendor's binaries with the vendor's own headers of one
// release: methods' slots and signatures, enumerators, layouts, and the interfaces that TensorRT
// calls. It includes the tables themselves, so nothing in them can be left out. Prints every
// mismatch and exits with 1 if there is one; CONTRIBUTING.md says when to run it.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <type_traits>

#include "common/error.hpp"
#include "nvinfer/abi_compare.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/methods.hpp"
#include "nvinfer/vendor_release.hpp"

namespace fasttrt::nvinfer {
namespace {

template <class T>
constexpr bool has_object = false;
#define OBJECT(name) \
  template <>        \
  constexpr bool has_object<vendor::V##name> = true;
FASTTRT_OBJECTS(OBJECT)
OBJECT(Layer)  // checked apart, see check_layer()
#undef OBJECT

template <class Interface, class R, class... A, class Find>
void check_method(const Method<R(A...)>& method, const Find& find) {
  static_assert(has_object<Interface> || of_parser<Interface> ||
                    std::is_same_v<Interface, vendor::IPluginRegistry>,
                "add it to FASTTRT_OBJECTS");
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
    tally.expect(!theirs || same_slot,
                 name + " is" + there + ", not " + std::to_string(ours.index));
  } else {
    ++tally.absent_methods;
    // Before the release that `since` names, or from that of `until`, it may be at another slot.
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
    tally.expect(!theirs || *theirs == ours.index, name + " is " +
                                                       std::to_string(theirs.value_or(-1)) +
                                                       ", not " + std::to_string(ours.index));
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
