// A client that an event loop serves, whatever it speaks.
#pragma once

#include <chrono>
#include <string_view>

#include "serving/event_source.hpp"

namespace fasttrt::serving {

// How long a client may take to read the last answer, and close, before it is cut off.
inline constexpr std::chrono::seconds linger_time(2);

// Used by its event loop's thread.
class Connection : public EventSource {
 public:
  using Clock = std::chrono::steady_clock;

  // When on_deadline() is to be called, as things are.
  [[nodiscard]] virtual Clock::time_point deadline() const noexcept = 0;
  virtual void on_deadline() = 0;

  // Writes the answers that are there; closes where there is no memory for that.
  virtual void advance_or_close() noexcept = 0;
  // Tells the client that the server takes no requests for this reason, and closes.
  virtual void refuse(std::string_view reason) = 0;
  // Takes no more requests than those that have begun.
  virtual void drain() = 0;
  // At once. Requests that have not begun to run are cancelled.
  virtual void close() noexcept = 0;
};

}  // namespace fasttrt::serving
