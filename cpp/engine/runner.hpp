// What runs a dispatcher's requests: a model on one device.
#pragma once

#include "engine/request.hpp"

namespace fasttrt::engine {

// Used by several workers at once.
class Runner {
 public:
  Runner() = default;
  virtual ~Runner() = default;
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs a request to its end. What it throws is the request's error.
  virtual void run(Request& request) = 0;
};

}  // namespace fasttrt::engine
