// A thread of a dispatcher's; private to it.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "engine/dispatcher.hpp"

namespace fasttrt::engine {

// Runs what is in the queue, on one device.
struct Dispatcher::Worker {
  Lane& lane;
  // A batch that is still open, and what it has on the device already.
  BatchPtr gathered;
  std::unique_ptr<GatheredRun> place;
  std::int64_t uploaded = 0;

  // Gives the batch up, which others may take. The place is to be freed without the lock, as that
  // may wait for the device.
  [[nodiscard]] std::unique_ptr<GatheredRun> let_go() noexcept {
    if (gathered != nullptr) {
      gathered->gatherer = nullptr;
      --lane.gathering;
    }
    gathered.reset();
    uploaded = 0;
    return std::move(place);
  }
};

// A run under way.
struct Dispatcher::Run {
  Lane& lane;
  std::int64_t rows = 0;
  std::int64_t size = 0;    // with padding
  bool is_alone = false;    // on its device, as it begins
  std::uint64_t place = 0;  // among all runs there
  Clock::time_point begun;
};

// Either of the first two; neither: there is none.
struct Dispatcher::Work {
  RequestRef request;
  BatchPtr batch;
  std::unique_ptr<GatheredRun> unused;  // of another batch, to be freed before
};

// What the work throws.
[[nodiscard]] std::exception_ptr error_of(const auto& work) noexcept {
  try {
    work();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace fasttrt::engine
