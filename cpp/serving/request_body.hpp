// The bytes of a request's body, where a model may read them.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "engine/host_buffer.hpp"

namespace fasttrt::serving {

// What all bodies together may take, so that clients who announce much cannot exhaust the memory.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t bytes) noexcept : left_(bytes) {}

  [[nodiscard]] bool take(std::size_t bytes) noexcept;
  void give_back(std::size_t bytes) noexcept { left_ += bytes; }
  [[nodiscard]] std::size_t left() const noexcept { return left_; }

 private:
  std::atomic<std::size_t> left_;
};

// A part of a budget, or nothing.
class Reservation {
 public:
  Reservation() noexcept = default;
  ~Reservation() { reset(); }
  Reservation(Reservation&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Reservation& operator=(Reservation&& other) noexcept;

  // False where the budget does not have as much left; it must have been nothing.
  [[nodiscard]] bool take(const std::shared_ptr<MemoryBudget>& budget, std::size_t bytes) noexcept;

 private:
  void reset() noexcept;

  std::shared_ptr<MemoryBudget> budget_;
  std::size_t bytes_ = 0;
};

class RequestBody {
 public:
  RequestBody() noexcept = default;
  ~RequestBody() = default;
  // The other is empty then.
  RequestBody(RequestBody&& other) noexcept { *this = std::move(other); }
  RequestBody& operator=(RequestBody&& other) noexcept;
  // align_at: the offset of the byte that is to lie as arrays are best read, behind the JSON part.
  // pool: for page-locked memory; null: ordinary memory.
  RequestBody(std::shared_ptr<MemoryBudget> budget, std::shared_ptr<engine::PinnedPool> pool,
              std::size_t align_at) noexcept;

  // Makes room for so many bytes in all. Returns false where the budget is exhausted; throws
  // OutOfMemoryError. What is there stays.
  [[nodiscard]] bool reserve(std::size_t bytes);
  // Where the next bytes go.
  [[nodiscard]] std::span<char> room() const noexcept;
  // So many were written there.
  void commit(std::size_t bytes) noexcept { size_ += bytes; }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::string_view bytes() const noexcept { return {begin(), size_}; }

 private:
  [[nodiscard]] char* begin() const noexcept;

  std::shared_ptr<MemoryBudget> budget_;
  std::shared_ptr<engine::PinnedPool> pool_;
  std::size_t padding_ = 0;
  Reservation reservation_;
  engine::HostBuffer memory_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

}  // namespace fasttrt::serving
