#include "serving/request_body.hpp"

#include <bit>
#include <cstring>

namespace fasttrt::serving {
namespace {

constexpr std::size_t alignment = 64;  // of a HostBuffer

}  // namespace

bool MemoryBudget::take(std::size_t bytes) noexcept {
  auto left = left_.load();
  while (bytes <= left) {
    if (left_.compare_exchange_weak(left, left - bytes)) return true;
  }
  return false;
}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    reset();
    budget_ = std::move(other.budget_);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

bool Reservation::take(const std::shared_ptr<MemoryBudget>& budget, std::size_t bytes) noexcept {
  if (!budget->take(bytes)) return false;
  budget_ = budget;
  bytes_ = bytes;
  return true;
}

void Reservation::reset() noexcept {
  if (budget_ != nullptr) budget_->give_back(std::exchange(bytes_, 0));
  budget_.reset();
}

RequestBody::RequestBody(std::shared_ptr<MemoryBudget> budget,
                         std::shared_ptr<engine::PinnedPool> pool, std::size_t align_at) noexcept
    : budget_(std::move(budget)),
      pool_(std::move(pool)),
      padding_((alignment - align_at % alignment) % alignment) {}

RequestBody& RequestBody::operator=(RequestBody&& other) noexcept {
  budget_ = std::move(other.budget_);
  pool_ = std::move(other.pool_);
  padding_ = other.padding_;
  memory_ = std::move(other.memory_);
  reservation_ = std::move(other.reservation_);  // once the memory is free
  capacity_ = std::exchange(other.capacity_, 0);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

char* RequestBody::begin() const noexcept {
  auto* const memory = static_cast<char*>(memory_.data());
  return memory == nullptr ? nullptr : memory + padding_;
}

bool RequestBody::reserve(std::size_t bytes) {
  if (bytes <= capacity_) return true;
  const auto needed = bytes + padding_;
  const bool is_pinned = pool_ != nullptr && needed >= engine::min_pinned_bytes;
  const auto taken = is_pinned ? std::bit_ceil(needed) : needed;  // as the pool does
  Reservation reservation;
  if (!reservation.take(budget_, taken)) return false;
  auto memory = is_pinned ? engine::HostBuffer(pool_, needed) : engine::HostBuffer(needed);
  if (size_ > 0) std::memcpy(static_cast<char*>(memory.data()) + padding_, begin(), size_);
  memory_ = std::move(memory);
  reservation_ = std::move(reservation);
  capacity_ = bytes;
  return true;
}

std::span<char> RequestBody::room() const noexcept {
  if (capacity_ == 0) return {};
  return {begin() + size_, capacity_ - size_};
}

}  // namespace fasttrt::serving
