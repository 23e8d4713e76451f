// Something whose descriptor an event loop watches.
#pragma once

#include <cstdint>

namespace fasttrt::serving {

class EventSource {
 public:
  EventSource() = default;
  virtual ~EventSource() = default;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;

  // What epoll reports.
  virtual void on_events(std::uint32_t events) = 0;
};

}  // namespace fasttrt::serving
