#include "nvinfer/output_allocator.hpp"

#include <utility>

#include "nvinfer/callbacks.hpp"

namespace fasttrt::nvinfer {
namespace {

// Fills each layout's functions from one pair of callables.
template <class Owner>
class AllocatorV8 final : public abi::OutputAllocatorV8 {
 public:
  explicit AllocatorV8(Owner owner) : owner_(owner) {}
  void* reallocate_output(const char*, void*, std::uint64_t size, std::uint64_t) noexcept override {
    return owner_.reallocate(size);
  }
  void notify_shape(const char*, const abi::Dims32& dims) noexcept override {
    owner_.notify(abi::widen(dims));
  }

 private:
  Owner owner_;
};

template <class Interface, class Owner>
class AsyncAllocator : public Interface {
 public:
  explicit AsyncAllocator(Owner owner) : owner_(owner) {}
  void* reallocate_output_async(const char*, void*, std::uint64_t size, std::uint64_t,
                                void*) noexcept override {
    return owner_.reallocate(size);
  }
  void notify_shape(const char*, const abi::Dims64& dims) noexcept override {
    owner_.notify(abi::widen(dims));
  }

 protected:
  Owner owner_;
};

template <class Owner>
class AllocatorV10 final : public AsyncAllocator<abi::OutputAllocatorV10, Owner> {
 public:
  using AsyncAllocator<abi::OutputAllocatorV10, Owner>::AsyncAllocator;
  void* reallocate_output(const char*, void*, std::uint64_t size, std::uint64_t) noexcept override {
    return this->owner_.reallocate(size);
  }
};

template <class Owner>
using AllocatorRtx = AsyncAllocator<abi::OutputAllocatorRtx, Owner>;

}  // namespace

struct OutputAllocator::Interfaces {
  struct Owner {
    OutputAllocator* self;
    [[nodiscard]] void* reallocate(std::uint64_t size) const noexcept {
      return self->reallocate(size);
    }
    void notify(const Dims& dims) const noexcept { self->dims_ = dims; }
  };
  explicit Interfaces(OutputAllocator* self)
      : v8(Owner{self}), v10(Owner{self}), rtx(Owner{self}) {}
  AllocatorV8<Owner> v8;
  AllocatorV10<Owner> v10;
  AllocatorRtx<Owner> rtx;
};

OutputAllocator::OutputAllocator(std::shared_ptr<cuda::PrimaryContext> device)
    : buffer_(std::move(device), 1), interfaces_(std::make_unique<Interfaces>(this)) {}
OutputAllocator::~OutputAllocator() = default;

void* OutputAllocator::vendor_interface(Generation generation) noexcept {
  switch (generation) {
    case Generation::v8: return static_cast<abi::OutputAllocatorV8*>(&interfaces_->v8);
    case Generation::v10:
    case Generation::v11: return static_cast<abi::OutputAllocatorV10*>(&interfaces_->v10);
    case Generation::rtx: return static_cast<abi::OutputAllocatorRtx*>(&interfaces_->rtx);
  }
  return nullptr;
}

// A null result makes TensorRT's enqueue fail, with an error of its own.
void* OutputAllocator::reallocate(std::size_t bytes) noexcept {
  try {
    buffer_.grow(bytes);
    return buffer_.data();
  } catch (...) {
    failure_ = std::current_exception();
    return nullptr;
  }
}

}  // namespace fasttrt::nvinfer
