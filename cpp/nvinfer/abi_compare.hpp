// What the header check needs to know about C++ classes at run time: a method's slot in the vtable,
// the place of the destructors, and whether two signatures cross a call in the same way. For the
// Itanium C++ ABI.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <optional>
#include <type_traits>

namespace fasttrt::nvinfer {

// Ours is what the core passes, Theirs what the vendor's header says.
template <class Ours, class Theirs>
consteval bool same_abi() {
  if constexpr (std::is_reference_v<Ours>) {
    return same_abi<std::remove_reference_t<Ours>*, Theirs>();
  } else if constexpr (std::is_reference_v<Theirs>) {
    return same_abi<Ours, std::remove_reference_t<Theirs>*>();
  } else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using To = std::remove_cv_t<std::remove_pointer_t<Ours>>;
    using From = std::remove_cv_t<std::remove_pointer_t<Theirs>>;
    // Our void* is any object of theirs, but no array of numbers.
    if constexpr (std::is_void_v<To>) {
      return std::is_void_v<From> || std::is_class_v<From>;
    } else {
      return same_abi<To, From>();
    }
  } else if constexpr (std::is_enum_v<Theirs> && std::is_integral_v<Ours>) {
    return sizeof(Ours) == sizeof(Theirs) && !std::is_same_v<Ours, bool>;
  } else if constexpr (std::is_class_v<Ours> && std::is_class_v<Theirs>) {
    return sizeof(Ours) == sizeof(Theirs) && alignof(Ours) == alignof(Theirs) &&
           std::is_trivially_copyable_v<Ours> && std::is_trivially_copyable_v<Theirs>;
  } else {
    return std::is_same_v<Ours, Theirs>;
  }
}

template <class Ours, class Theirs>
inline constexpr bool same_function = false;
template <class R, class... A, class S, class... B>
  requires(sizeof...(A) == sizeof...(B))
inline constexpr bool same_function<R(A...), S(B...)> =
    same_abi<R, S>() && (same_abi<A, B>() && ...);
template <class Ours, class S, class... B>
inline constexpr bool same_function<Ours, S(B...) noexcept> = same_function<Ours, S(B...)>;

template <class Signature>
struct Member {
  using Type = Signature;
  std::optional<std::size_t> slot;  // none for a function that is not virtual
};

// A pointer to a virtual member function holds its offset in the vtable, and a bit that says so: in
// the first word on x86-64, in the second on aarch64.
template <class Signature, class Pointer>
Member<Signature> member(Pointer pointer) {
  const auto [function, adjustment] = std::bit_cast<std::array<std::size_t, 2>>(pointer);
  if (((function | adjustment) & 1U) == 0) return {};
  return {(function & ~std::size_t{1}) / sizeof(void*)};
}

// Takes `&Interface::name`: the one method of that name, or else the overload with exactly these
// parameters.
template <class... Exactly>
struct Pick {
  template <class R, class C, class... A, bool N>
  auto operator()(R (C::*pointer)(A...) noexcept(N)) const {
    return member<R(A...)>(pointer);
  }
  template <class R, class C, class... A, bool N>
  auto operator()(R (C::*pointer)(A...) const noexcept(N)) const {
    return member<R(A...)>(pointer);
  }
  template <class R, class C, bool N>
  auto operator()(R (C::*pointer)(Exactly...) noexcept(N)) const {
    return member<R(Exactly...)>(pointer);
  }
  template <class R, class C, bool N>
  auto operator()(R (C::*pointer)(Exactly...) const noexcept(N)) const {
    return member<R(Exactly...)>(pointer);
  }
};

// A function that applies a Pick to the member of that name, and that cannot be called for an
// interface without one. Only a macro can take a name.
#define FASTTRT_FIND(name)                                                                      \
  []<class Interface>(const auto& pick, const Interface*) -> decltype(pick(&Interface::name)) { \
    return pick(&Interface::name);                                                              \
  }

// Memory in place of an object, to call what does not look at it: also of an abstract class.
template <class Class>
class Stand {
 public:
  Class* operator->() { return reinterpret_cast<Class*>(storage_.data()); }

 private:
  alignas(Class) std::array<std::byte, sizeof(Class)> storage_{};
};

// A destructor begins by pointing its object at the vtable of its own class.
template <class Interface, int>
struct Probe : Interface {
  ~Probe() override { vtable = *reinterpret_cast<void* const* const*>(this); }
  static inline void* const* vtable = nullptr;
};

// The slot of the deleting destructor. Two classes that differ only in their destructors show where
// it is; in an abstract class its entries are null.
template <class Interface>
std::size_t deleting_slot() {
  Stand<Probe<Interface, 0>> a;
  Stand<Probe<Interface, 1>> b;
  a->Probe<Interface, 0>::~Probe();
  b->Probe<Interface, 1>::~Probe();
  auto* const* const first = Probe<Interface, 0>::vtable;
  auto* const* const second = Probe<Interface, 1>::vtable;
  std::size_t slot = 0;
  while (first[slot] != nullptr && first[slot] == second[slot]) ++slot;
  return slot + 1;  // it comes second
}

}  // namespace fasttrt::nvinfer
