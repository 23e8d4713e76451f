#include "bindings/dlpack.hpp"

#include <pybind11/critical_section.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

#include "bindings/capsule.hpp"
#include "bindings/text.hpp"
#include "bindings/type_attribute.hpp"
#include "common/error.hpp"

namespace fasttrt::bindings::dlpack {
namespace {

namespace py = pybind11;
using nvinfer::DataType;

// The layouts are the ABI's.
static_assert(sizeof(Type) == 4 && sizeof(Device) == 8);
static_assert(sizeof(Tensor) == 48 && offsetof(Tensor, byte_offset) == 40);
static_assert(sizeof(ManagedTensor) == 64);
static_assert(sizeof(VersionedTensor) == 80 && offsetof(VersionedTensor, tensor) == 32);
static_assert(offsetof(ExchangeApi, allocate) == 16 && sizeof(ExchangeApi) == 56);

struct Pair {
  DataType ours = DataType::float32;
  Type theirs;
};

constexpr std::array pairs{
    Pair{DataType::float32, {TypeCode::floating, 32, 1}},
    Pair{DataType::float16, {TypeCode::floating, 16, 1}},
    Pair{DataType::int8, {TypeCode::signed_int, 8, 1}},
    Pair{DataType::int32, {TypeCode::signed_int, 32, 1}},
    Pair{DataType::boolean, {TypeCode::boolean, 8, 1}},
    Pair{DataType::uint8, {TypeCode::unsigned_int, 8, 1}},
    Pair{DataType::float8_e4m3fn, {TypeCode::float8_e4m3fn, 8, 1}},
    Pair{DataType::bfloat16, {TypeCode::bfloat, 16, 1}},
    Pair{DataType::int64, {TypeCode::signed_int, 64, 1}},
    Pair{DataType::int4, {TypeCode::signed_int, 4, 1}},
    Pair{DataType::float4_e2m1fn, {TypeCode::float4_e2m1fn, 4, 1}},
    Pair{DataType::float8_e8m0fnu, {TypeCode::float8_e8m0fnu, 8, 1}},
};

constexpr std::array device_names{
    std::pair{1, "the CPU"},
    std::pair{2, "CUDA"},
    std::pair{3, "CUDA's host memory"},
    std::pair{4, "OpenCL"},
    std::pair{7, "Vulkan"},
    std::pair{8, "Metal"},
    std::pair{9, "VPI"},
    std::pair{10, "ROCm"},
    std::pair{11, "ROCm's host memory"},
    std::pair{12, "an extension"},
    std::pair{13, "CUDA's managed memory"},
    std::pair{14, "oneAPI"},
    std::pair{15, "WebGPU"},
    std::pair{16, "Hexagon"},
    std::pair{17, "MAIA"},
    std::pair{18, "Trainium"},
};

// Called from C: nothing may leave it.
void set_error(void* context, const char* /*kind*/, const char* message) noexcept {
  try {
    if (message != nullptr) *static_cast<std::string*>(context) = message;
  } catch (const std::bad_alloc&) {
    return;
  }
}

// Only the words tell: PyTorch says "MemoryError" of every failure.
bool tells_of_memory(std::string_view text) {
  return text.find("out of memory") != std::string_view::npos ||
         text.find("allocate memory") != std::string_view::npos;
}

[[noreturn]] void fail(std::string reason, DataType type, const nvinfer::Dims& shape) {
  if (PyErr_Occurred() != nullptr) reason = py::error_already_set().what();
  reason = first_line(std::move(reason));
  const auto message = "the array's framework cannot make " + shape.str() + " of " +
                       std::string(nvinfer::dtype_name(type)) + ": " + reason;
  if (tells_of_memory(reason)) throw OutOfMemoryError(message);
  throw Error(message);
}

template <class Managed>
void delete_tensor(Managed* tensor) noexcept {
  if (tensor->deleter != nullptr) tensor->deleter(tensor);
}

// Deletes the tensor at once where there is no memory for its owner.
template <class Managed>
py::object owner_of(Managed* tensor) {
  return make_owner(
      std::unique_ptr<Managed, decltype(&delete_tensor<Managed>)>(tensor, &delete_tensor),
      [](void* data) { delete_tensor(static_cast<Managed*>(data)); });
}

struct CapsuleName {
  const char* fresh;
  const char* used;  // the tensor is no longer the capsule's to delete
};
constexpr CapsuleName legacy_name{"dltensor", "used_dltensor"};
constexpr CapsuleName versioned_name{"dltensor_versioned", "used_dltensor_versioned"};

template <class Managed>
Managed* unwrap(py::handle capsule, const CapsuleName& name) {
  const py::scoped_critical_section section(capsule);  // one thread takes it
  if (PyCapsule_IsValid(capsule.ptr(), name.fresh) == 0) return nullptr;
  auto* const tensor = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name.fresh));
  return PyCapsule_SetName(capsule.ptr(), name.used) == 0 ? tensor : nullptr;
}

// A tensor with what it points to.
template <class Managed>
struct Export {
  Managed managed;
  ExportedTensor offer;
  std::array<std::int64_t, nvinfer::max_rank> strides{};
};

template <class Managed>
void delete_export(Managed* managed) {
  delete static_cast<Export<Managed>*>(managed->context);
}

template <class Managed>
std::unique_ptr<Export<Managed>> make_export(const ExportedTensor& offer) {
  auto exported = std::make_unique<Export<Managed>>();
  exported->offer = offer;
  auto& shape = exported->offer.shape;
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    exported->strides[static_cast<std::size_t>(axis)] = stride;
    stride *= std::max<std::int64_t>(shape[axis], 1);
  }
  exported->managed.context = exported.get();
  exported->managed.deleter = &delete_export<Managed>;
  exported->managed.tensor = {shape.volume() == 0 ? nullptr : offer.data,
                              {DeviceType::cuda, offer.ordinal},
                              shape.rank(),
                              from_data_type(offer.dtype),
                              &shape[0],
                              exported->strides.data(),
                              0};
  return exported;
}

template <class Managed>
py::object wrap(std::unique_ptr<Export<Managed>> exported, const char* name) {
  const auto delete_unused = [](PyObject* capsule) {
    const char* const label = PyCapsule_GetName(capsule);
    if (std::string_view(label).starts_with("used_")) return;
    delete_export(static_cast<Managed*>(PyCapsule_GetPointer(capsule, label)));
  };
  auto* const capsule = PyCapsule_New(&exported->managed, name, delete_unused);
  if (capsule == nullptr) throw py::error_already_set();
  std::ignore = exported.release();  // the capsule's now
  return py::reinterpret_steal<py::object>(capsule);
}

}  // namespace

const ExchangeApi* exchange_api(py::handle object) {
  static constinit const AttributeName name("__dlpack_c_exchange_api__");
  const auto capsule = type_attribute(object, name);
  constexpr auto kind = "dlpack_exchange_api";
  if (!capsule || PyCapsule_IsValid(capsule.ptr(), kind) == 0) return nullptr;
  const auto* header =
      static_cast<const ExchangeHeader*>(PyCapsule_GetPointer(capsule.ptr(), kind));
  while (header != nullptr && header->version.major != supported_major) header = header->previous;
  return reinterpret_cast<const ExchangeApi*>(header);
}

ImportedTensor import_tensor(VersionedTensor* tensor) {
  auto owner = owner_of(tensor);
  if (tensor->version.major != supported_major) {
    throw py::value_error("expected DLPack 1, got DLPack " + std::to_string(tensor->version.major));
  }
  return {&tensor->tensor, tensor->flags, std::move(owner)};
}

ImportedTensor import_tensor(py::handle capsule) {
  auto* const versioned = unwrap<VersionedTensor>(capsule, versioned_name);
  if (versioned != nullptr) return import_tensor(versioned);
  auto* const legacy = unwrap<ManagedTensor>(capsule, legacy_name);
  if (legacy == nullptr) throw py::value_error("__dlpack__ gave no unused DLPack capsule");
  return {&legacy->tensor, 0, owner_of(legacy)};
}

py::object to_capsule(const ExportedTensor& offer, bool versioned) {
  if (!versioned) return wrap(make_export<ManagedTensor>(offer), legacy_name.fresh);
  auto exported = make_export<VersionedTensor>(offer);
  if (offer.copied) exported->managed.flags |= copied_flag;
  return wrap(std::move(exported), versioned_name.fresh);
}

std::optional<DataType> to_data_type(const Type& type) noexcept {
  const auto* const found = std::ranges::find(pairs, type, &Pair::theirs);
  return found == pairs.end() ? std::nullopt : std::optional(found->ours);
}

Type from_data_type(DataType type) noexcept {
  const auto* const found = std::ranges::find(pairs, type, &Pair::ours);
  return found == pairs.end() ? Type{} : found->theirs;
}

std::string type_name(const Type& type) {
  const auto bits = std::to_string(type.bits);
  std::string name;
  switch (type.code) {
    case TypeCode::signed_int: name = "int" + bits; break;
    case TypeCode::unsigned_int: name = "uint" + bits; break;
    case TypeCode::floating: name = "float" + bits; break;
    case TypeCode::bfloat: name = "bfloat" + bits; break;
    case TypeCode::complex: name = "complex" + bits; break;
    case TypeCode::boolean: name = type.bits == 8 ? "bool" : "bool of " + bits + " bits"; break;
    case TypeCode::float8_e4m3fn: name = "float8_e4m3fn"; break;
    case TypeCode::float8_e5m2: name = "float8_e5m2"; break;
    case TypeCode::float8_e8m0fnu: name = "float8_e8m0fnu"; break;
    case TypeCode::float4_e2m1fn: name = "float4_e2m1fn"; break;
    default:
      name = "DLPack type " + std::to_string(static_cast<int>(type.code)) + " of " + bits + " bits";
  }
  return type.lanes == 1 ? name : std::to_string(type.lanes) + " x " + name;
}

std::string device_name(DeviceType type) {
  const auto code = static_cast<int>(type);
  const auto* const found = std::ranges::find(device_names, code, [](auto& p) { return p.first; });
  return found == device_names.end() ? "DLPack device type " + std::to_string(code) : found->second;
}

Allocation allocate_like(const ExchangeApi& api, DataType type, const nvinfer::Dims& shape,
                         std::optional<int> ordinal) {
  std::array<std::int64_t, nvinfer::max_rank> sizes{};
  std::ranges::copy(shape, sizes.begin());
  Tensor prototype;
  prototype.device = ordinal ? Device{DeviceType::cuda, *ordinal} : Device{};
  prototype.rank = shape.rank();
  prototype.dtype = from_data_type(type);
  prototype.shape = sizes.data();
  std::string reason;
  VersionedTensor* tensor = nullptr;
  if (api.allocate(&prototype, &tensor, &reason, &set_error) != 0 || tensor == nullptr) {
    fail(reason, type, shape);
  }
  void* const data = static_cast<char*>(tensor->tensor.data) + tensor->tensor.byte_offset;
  void* object = nullptr;
  if (api.to_object(tensor, &object) != 0 || object == nullptr) fail(reason, type, shape);
  return {py::reinterpret_steal<py::object>(static_cast<PyObject*>(object)), data};
}

}  // namespace fasttrt::bindings::dlpack
