// Pointers to objects that count the references to themselves.
#pragma once

#include <utility>

namespace fasttrt {

// T has acquire() and release(). As a std::shared_ptr, without a second allocation.
template <class T>
class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(T* object) noexcept : object_(object) { acquire(); }
  ~Ref() { reset(); }
  Ref(const Ref& other) noexcept : object_(other.object_) { acquire(); }
  Ref(Ref&& other) noexcept : object_(other.take()) {}
  template <class U>
  Ref(Ref<U> other) noexcept : object_(other.take()) {}  // NOLINT(*-explicit-*): as a pointer
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }

  // The reference is the caller's to release.
  [[nodiscard]] T* take() noexcept { return std::exchange(object_, nullptr); }
  // Takes over a reference that take() gave.
  [[nodiscard]] static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  void reset() noexcept {
    if (auto* const object = take()) object->release();
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  void acquire() noexcept {
    if (object_ != nullptr) object_->acquire();
  }

  T* object_ = nullptr;
};

}  // namespace fasttrt
