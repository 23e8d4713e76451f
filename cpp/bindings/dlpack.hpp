// DLPack 1.x as it crosses the call: how array libraries hand each other memory.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"

namespace fasttrt::bindings::dlpack {

// A major release changes the layouts below, a minor one adds codes.
inline constexpr std::uint32_t supported_major = 1;

struct Version {
  std::uint32_t major = supported_major;
  std::uint32_t minor = 0;
};

enum class DeviceType : std::int32_t { cpu = 1, cuda = 2, cuda_host = 3, cuda_managed = 13 };

struct Device {
  DeviceType type = DeviceType::cpu;
  std::int32_t ordinal = 0;
};

enum class TypeCode : std::uint8_t {
  signed_int = 0,
  unsigned_int = 1,
  floating = 2,
  bfloat = 4,
  complex = 5,
  boolean = 6,
  float8_e4m3fn = 10,
  float8_e5m2 = 12,
  float8_e8m0fnu = 14,
  float4_e2m1fn = 17,
};

struct Type {
  TypeCode code = TypeCode::floating;
  std::uint8_t bits = 32;
  std::uint16_t lanes = 1;
  friend bool operator==(const Type&, const Type&) = default;
};

struct Tensor {
  void* data = nullptr;
  Device device;
  std::int32_t rank = 0;
  Type dtype;
  std::int64_t* shape = nullptr;
  std::int64_t* strides = nullptr;  // in elements; before 1.2 null if contiguous
  std::uint64_t byte_offset = 0;
};

// Before 1.0, and still what a consumer gets that names no version.
struct ManagedTensor {
  Tensor tensor;
  void* context = nullptr;
  void (*deleter)(ManagedTensor* self) = nullptr;
};

inline constexpr std::uint64_t read_only_flag = 1;
inline constexpr std::uint64_t copied_flag = 2;
inline constexpr std::uint64_t padded_flag = 4;  // a byte for each element of fewer bits

struct VersionedTensor {
  Version version;
  void* context = nullptr;
  void (*deleter)(VersionedTensor* self) = nullptr;
  std::uint64_t flags = 0;
  Tensor tensor;
};

struct ExchangeHeader {
  Version version;
  const ExchangeHeader* previous = nullptr;  // a table of an older version
};

using SetError = void (*)(void* context, const char* kind, const char* message);

// What a framework offers C callers, found at its array type. All but `allocate` need the GIL, and
// return -1 with a Python error set where they fail.
struct ExchangeApi {
  ExchangeHeader header;
  int (*allocate)(Tensor* prototype, VersionedTensor** out, void* context,
                  SetError set_error) = nullptr;
  int (*from_object)(void* object, VersionedTensor** out) = nullptr;
  int (*to_object)(VersionedTensor* tensor, void** object) = nullptr;  // takes the tensor over
  int (*borrow)(void* object, Tensor* out) = nullptr;                  // may be null
  int (*current_stream)(DeviceType type, std::int32_t ordinal, void** out) = nullptr;
};

// The table of an object's type; null if it has none of version 1.
[[nodiscard]] const ExchangeApi* exchange_api(pybind11::handle object);

// A tensor of somebody else's, for as long as its owner lives.
struct ImportedTensor {
  const Tensor* tensor = nullptr;
  std::uint64_t flags = 0;
  pybind11::object owner;  // let go of it with the GIL
};

// Takes over what a managed tensor, or a capsule from __dlpack__, holds. Throws ValueError for a
// capsule of another kind, one that was used before, or a tensor of another major version.
[[nodiscard]] ImportedTensor import_tensor(VersionedTensor* tensor);
[[nodiscard]] ImportedTensor import_tensor(pybind11::handle capsule);

// An array of ours for others. C-contiguous, on a GPU.
struct ExportedTensor {
  std::shared_ptr<const void> owner;  // let go of on any thread, without the GIL
  void* data = nullptr;
  nvinfer::DataType dtype = nvinfer::DataType::float32;
  nvinfer::Dims shape;
  int ordinal = 0;
  bool copied = false;  // so that the consumer may write
};

// What __dlpack__ returns; versioned for consumers that know DLPack 1.
[[nodiscard]] pybind11::object to_capsule(const ExportedTensor& offer, bool versioned);

[[nodiscard]] std::optional<nvinfer::DataType> to_data_type(const Type& type) noexcept;
[[nodiscard]] Type from_data_type(nvinfer::DataType type) noexcept;
// As numpy writes them, as far as it has them: "float64", "complex64", "DLPack type 9 of 8 bits".
[[nodiscard]] std::string type_name(const Type& type);
// "Vulkan", ...: for refusals.
[[nodiscard]] std::string device_name(DeviceType type);

struct Allocation {
  pybind11::object array;
  void* data = nullptr;
};

// An uninitialised array of the framework's own, in the order of its current stream on that GPU;
// without an ordinal in host memory. Throws OutOfMemoryError, or Error with the framework's words.
[[nodiscard]] Allocation allocate_like(const ExchangeApi& api, nvinfer::DataType type,
                                       const nvinfer::Dims& shape, std::optional<int> ordinal);

}  // namespace fasttrt::bindings::dlpack
