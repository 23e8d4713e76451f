// What the event loops of a server have in common.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "serving/api_keys.hpp"
#include "serving/control_queue.hpp"
#include "serving/http_options.hpp"
#include "serving/model_table.hpp"
#include "serving/request_body.hpp"

namespace fasttrt::serving {

struct ServerState {
  explicit ServerState(HttpOptions given)
      : options(std::move(given)),
        keys(options.api_keys),
        control(options.max_control_requests),
        budget(std::make_shared<MemoryBudget>(options.max_buffered_bytes)) {}

  const HttpOptions options;
  const ApiKeys keys;
  ModelTable models;
  ControlQueue control;
  const std::shared_ptr<MemoryBudget> budget;
  std::atomic<bool> is_draining = false;  // connections end with their next answer

  std::atomic<int> connections = 0;
  std::mutex mutex;                 // of what close() waits for
  std::condition_variable changed;  // told while draining
  std::size_t draining_loops = 0;   // that know of it, so that they take no more connections
};

}  // namespace fasttrt::serving
