// Dimensions across a virtual call, against classes that the compiler lays out and calls itself.
// How they are returned and passed depends on the machine: by a hidden pointer, whose register is
// the first argument's on x86-64 and one of its own on aarch64; copies on the stack, or behind a
// pointer.
#include "nvinfer/abi.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "nvinfer/dims.hpp"

namespace fasttrt::nvinfer {
namespace {

TEST_SUITE_BEGIN("calling convention");

// As in the vendor's headers: 36 bytes up to 8.6, 72 bytes later.
template <class Size>
struct VendorDims {
  std::int32_t rank;
  std::array<Size, max_rank> sizes;
};

template <class Size>
class Shaped {
 public:
  Shaped() = default;
  Shaped(const Shaped&) = delete;
  Shaped& operator=(const Shaped&) = delete;
  Shaped(Shaped&&) = delete;
  Shaped& operator=(Shaped&&) = delete;
  virtual ~Shaped() = default;  // slots 0 and 1
  [[nodiscard]] virtual VendorDims<Size> dimensions() const noexcept = 0;
  [[nodiscard]] virtual VendorDims<Size> shape(const char* name, std::int32_t profile,
                                               std::int32_t selector) const noexcept = 0;
  virtual bool set_copy(const char* name, std::int32_t selector,
                        VendorDims<Size> dims) noexcept = 0;
  virtual bool set_reference(const char* name, std::int32_t selector,
                             const VendorDims<Size>& dims) noexcept = 0;
};

template <class Size>
class Recorder final : public Shaped<Size> {
 public:
  VendorDims<Size> kept{};
  std::string arguments;

  [[nodiscard]] VendorDims<Size> dimensions() const noexcept override { return kept; }
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as the vendor's
  [[nodiscard]] VendorDims<Size> shape(const char* name, std::int32_t profile,
                                       std::int32_t selector) const noexcept override {
    auto result = kept;
    result.sizes[0] = static_cast<Size>(std::string(name).size());
    result.sizes[1] = static_cast<Size>(profile);
    result.sizes[2] = static_cast<Size>(selector);
    return result;
  }
  bool set_copy(const char* name, std::int32_t selector, VendorDims<Size> dims) noexcept override {
    return record(name, selector, dims);
  }
  bool set_reference(const char* name, std::int32_t selector,
                     const VendorDims<Size>& dims) noexcept override {
    return record(name, selector, dims);
  }

 private:
  bool record(const char* name, std::int32_t selector, const VendorDims<Size>& dims) {
    arguments = name + std::string(" ") + std::to_string(selector);
    kept = dims;
    return dims.rank % 2 == 0;
  }
};

template <class Raw>
using SizeOf = decltype(Raw::sizes)::value_type;

// Of `rank`, with sizes that need all bits of the type.
template <class Raw>
Dims random_dims(int rank, std::mt19937_64& random) {
  std::uniform_int_distribution<SizeOf<Raw>> sizes;
  Dims dims(rank);
  for (int axis = 0; axis < rank; ++axis) dims[axis] = sizes(random);
  return dims;
}

TEST_CASE_TEMPLATE("dimensions are returned and passed as the compiler does it", Raw, abi::Dims32,
                   abi::Dims64) {
  using Vendor = VendorDims<SizeOf<Raw>>;
  static_assert(sizeof(Raw) == sizeof(Vendor));
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int rank = 3; rank <= max_rank; ++rank) {
    Recorder<SizeOf<Raw>> object;
    Shaped<SizeOf<Raw>>* const interface = &object;
    const char* const name = "input";

    const auto copied = random_dims<Raw>(rank, random);
    CHECK(abi::invoke<Raw, bool, const char*, std::int32_t, abi::DimsCopy>(
              interface, 4, name, rank, copied) == (rank % 2 == 0));
    CHECK(object.arguments == "input " + std::to_string(rank));
    CHECK(abi::invoke<Raw, Dims>(interface, 2) == copied);

    const auto referred = random_dims<Raw>(rank, random);
    CHECK(abi::invoke<Raw, bool, const char*, std::int32_t, abi::DimsRef>(
              interface, 5, name, -7, referred) == (rank % 2 == 0));
    CHECK(object.arguments == "input -7");
    CHECK(abi::invoke<Raw, Dims>(interface, 2) == referred);

    auto expected = referred;
    expected[0] = 5;
    expected[1] = 11;
    expected[2] = rank;
    CHECK(abi::invoke<Raw, Dims, const char*, std::int32_t, std::int32_t>(interface, 3, name, 11,
                                                                          rank) == expected);
  }
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::nvinfer
