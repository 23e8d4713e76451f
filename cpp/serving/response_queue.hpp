// The requests of a connection in their order, and the writing of their answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "serving/exchange.hpp"

namespace fasttrt::serving {

class ResponseQueue {
 public:
  enum class Result : std::uint8_t { written, blocked, failed };

  void push(ExchangePtr exchange) { exchanges_.push_back(std::move(exchange)); }
  [[nodiscard]] bool empty() const noexcept { return exchanges_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return exchanges_.size(); }
  [[nodiscard]] const std::deque<ExchangePtr>& exchanges() const noexcept { return exchanges_; }
  void clear() noexcept { exchanges_.clear(); }

  // Writes the answers that are there, up to the first that is not: all of them, or as much as the
  // socket takes now.
  [[nodiscard]] Result write(int socket);

 private:
  // Drops what is written.
  void advance(std::size_t bytes) noexcept;

  std::deque<ExchangePtr> exchanges_;
  std::size_t written_ = 0;  // of the first answer
};

}  // namespace fasttrt::serving
