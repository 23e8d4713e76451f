#include "cuda/device.hpp"

#include <array>
#include <cstddef>
#include <string_view>

#include "common/error.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {
namespace {

Device find_device(int ordinal) {
  const int count = device_count();
  if (ordinal < 0 || ordinal >= count) {
    const std::string valid =
        count == 0 ? "there is none" : "valid are 0 to " + std::to_string(count - 1);
    throw CudaError("no CUDA device " + std::to_string(ordinal) + ": " + valid,
                    static_cast<int>(Result::invalid_device), "cuDeviceGet");
  }
  Device device = 0;
  check(driver().device_get(&device, ordinal), "cuDeviceGet");
  return device;
}

int read_attribute(DeviceAttribute attribute, Device device) {
  int value = 0;
  check(driver().device_get_attribute(&value, attribute, device), "cuDeviceGetAttribute");
  return value;
}

std::string text_of(const Uuid& uuid) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "GPU";
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += digits[uuid.bytes[i] >> 4];
    text += digits[uuid.bytes[i] & 15];
  }
  return text;
}

}  // namespace

int device_count() {
  int count = 0;
  check(driver().device_get_count(&count), "cuDeviceGetCount");
  return count;
}

DeviceInfo device_info(int ordinal) {
  const Device device = find_device(ordinal);
  std::array<char, 256> name{};
  DeviceInfo info;
  info.ordinal = ordinal;
  // One less than the room there is: the last byte stays the terminator.
  check(driver().device_get_name(name.data(), static_cast<int>(name.size()) - 1, device),
        "cuDeviceGetName");
  info.name = name.data();
  Uuid uuid{};
  check(driver().device_get_uuid(&uuid, device), "cuDeviceGetUuid");
  info.uuid = text_of(uuid);
  info.major = read_attribute(DeviceAttribute::compute_capability_major, device);
  info.minor = read_attribute(DeviceAttribute::compute_capability_minor, device);
  check(driver().device_total_mem(&info.total_memory, device), "cuDeviceTotalMem_v2");
  check(driver().driver_get_version(&info.driver_version), "cuDriverGetVersion");
  return info;
}

std::shared_ptr<PrimaryContext> PrimaryContext::retain(int ordinal) {
  return std::make_shared<PrimaryContext>(Key{}, ordinal);
}

PrimaryContext::PrimaryContext(Key /*key*/, int ordinal)
    : ordinal_(ordinal), device_(find_device(ordinal)) {
  check(driver().device_primary_ctx_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

PrimaryContext::~PrimaryContext() { ignore(driver().device_primary_ctx_release(device_)); }

ContextGuard::ContextGuard(const PrimaryContext& context) {
  check(driver().ctx_push_current(context.handle()), "cuCtxPushCurrent_v2");
  active_ = true;
}

ContextGuard::ContextGuard(const PrimaryContext& context, std::nothrow_t /*tag*/) noexcept
    : active_(driver().ctx_push_current(context.handle()) == Result::success) {}

ContextGuard::~ContextGuard() {
  CUctx_st* popped = nullptr;
  if (active_) ignore(driver().ctx_pop_current(&popped));
}

}  // namespace fasttrt::cuda
