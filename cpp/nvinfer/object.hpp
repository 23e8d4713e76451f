// Owners of vendor objects, and the calls through their implementation's vtable.
#pragma once

#include <memory>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/library.hpp"

namespace fasttrt::nvinfer {

// A vendor object that somebody else owns (a network's tensor, a builder's profile).
class ObjectRef {
 public:
  ObjectRef(const Library* library, void* object) noexcept : library_(library), object_(object) {}

  [[nodiscard]] void* get() const noexcept { return object_; }
  [[nodiscard]] bool has(const MethodInfo& method) const noexcept { return library_->has(method); }
  // Another object of the same library.
  [[nodiscard]] ObjectRef at(void* object) const noexcept { return {library_, object}; }

  // Calls a method of an object that has an implementation behind it: two words, the object's own
  // vtable and the pointer to that implementation.
  template <class R, class... A>
  [[nodiscard]] R call(const Method<R(A...)>& method, abi::Argument<A>... arguments) const {
    return dispatch(method, static_cast<void**>(object_)[1], arguments...);
  }

  // The same for interfaces without one (the ONNX parser's).
  template <class R, class... A>
  [[nodiscard]] R call_direct(const Method<R(A...)>& method, abi::Argument<A>... arguments) const {
    return dispatch(method, object_, arguments...);
  }

 protected:
  [[nodiscard]] const Library& library() const noexcept { return *library_; }

 private:
  template <class R, class... A>
  R dispatch(const Method<R(A...)>& method, void* self, abi::Argument<A>... arguments) const {
    const auto slot = library_->slot(method);
    if (library_->generation() == Generation::v8) {
      return abi::invoke<abi::Dims32, R, A...>(self, slot, arguments...);
    }
    return abi::invoke<abi::Dims64, R, A...>(self, slot, arguments...);
  }

  const Library* library_;
  void* object_;
};

// Owns a vendor object, deleted through its own vtable, and holds what must outlive it.
class Object : public ObjectRef {
 public:
  // parent: what must be destroyed after this object, besides the library.
  Object(std::shared_ptr<const Library> library, void* object, std::shared_ptr<const void> parent,
         std::size_t deleting_slot = deleting_destructor) noexcept
      : ObjectRef(library.get(), object),
        library_(std::move(library)),
        parent_(std::move(parent)),
        deleting_slot_(deleting_slot) {}
  ~Object() {
    using Delete = void(void*);
    const auto* const* vtable = *static_cast<void* const* const*>(get());
    reinterpret_cast<Delete*>(const_cast<void*>(vtable[deleting_slot_]))(get());
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  Object(Object&&) = delete;
  Object& operator=(Object&&) = delete;

  [[nodiscard]] const std::shared_ptr<const Library>& shared_library() const noexcept {
    return library_;
  }

 private:
  std::shared_ptr<const Library> library_;
  std::shared_ptr<const void> parent_;
  std::size_t deleting_slot_;
};

}  // namespace fasttrt::nvinfer
