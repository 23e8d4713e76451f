// Owners of the driver's objects, over the non-owning reference to each.
#pragma once

#include <memory>
#include <new>
#include <utility>

#include "cuda/device.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {

// A reference to what has no functions of its own here.
template <class T>
class HandleRef {
 public:
  using Handle = T;
  explicit HandleRef(T handle) noexcept : handle_(handle) {}

  [[nodiscard]] T handle() const noexcept { return handle_; }

 protected:
  T handle_;
};

// Owns what a Ref refers to and keeps its context alive, in which `destroy`, a function of the
// driver, is called. Use it as a Ref.
template <class Ref, auto destroy>
class Owned : public Ref {
 public:
  using Handle = Ref::Handle;

  // Empty and of no context.
  Owned() noexcept : Ref(Handle{}) {}
  // Takes ownership of the handle.
  Owned(std::shared_ptr<PrimaryContext> context, Handle handle) noexcept
      : Ref(handle), context_(std::move(context)) {}
  ~Owned() { reset(); }
  Owned(Owned&& other) noexcept
      : Ref(std::exchange(other.handle_, Handle{})), context_(std::move(other.context_)) {}
  Owned& operator=(Owned&& other) noexcept {
    if (this != &other) {
      reset();
      this->handle_ = std::exchange(other.handle_, Handle{});
      context_ = std::move(other.context_);
    }
    return *this;
  }

  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept { return context_; }
  // The caller now destroys it, and keeps its context alive until then.
  [[nodiscard]] Handle release() noexcept {
    context_.reset();
    return std::exchange(this->handle_, Handle{});
  }
  // Destroys it now, but keeps the context.
  void reset() noexcept {
    if (this->handle_ == Handle{}) return;
    const ContextGuard guard(*context_, std::nothrow);
    if (guard.active()) ignore((driver().*destroy)(this->handle_));
    this->handle_ = Handle{};
  }

 private:
  std::shared_ptr<PrimaryContext> context_;
};

}  // namespace fasttrt::cuda
