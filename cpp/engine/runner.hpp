// What runs a dispatcher's requests: a model on one device.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "engine/array.hpp"
#include "engine/request.hpp"

namespace fasttrt::engine {

// Rows of an input that lie in host memory, of which there will be `capacity` at most.
struct HostRows {
  void* data = nullptr;
  std::size_t row_bytes = 0;
  std::int64_t capacity = 0;
};

// A place on the device for one run, whose arrays may be brought there bit by bit.
class GatheredRun {
 public:
  GatheredRun() = default;
  virtual ~GatheredRun() = default;
  GatheredRun(const GatheredRun&) = delete;
  GatheredRun& operator=(const GatheredRun&) = delete;

  // Begins to copy the rows from `begin` to `end`, the first that were not copied yet. They stay
  // until the run is over, or this is gone.
  virtual void upload(std::size_t input, const HostRows& rows, std::int64_t begin,
                      std::int64_t end) = 0;
  // Begins to copy the rows before `end` that were not copied yet, and to repeat them, from the
  // first on, in the places up to the capacity. Returns whether it did: no for an input that is
  // read from the host's memory, where they are to be repeated instead.
  [[nodiscard]] virtual bool pad(std::size_t input, const HostRows& rows, std::int64_t end) = 0;
  // Runs once. It allocates the results without a target.
  virtual void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) = 0;
};

// Used by several workers at once.
class Runner {
 public:
  Runner() = default;
  virtual ~Runner() = default;
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs a request without arrays. What it throws is the request's error.
  virtual void run(Request& request) = 0;
  // Runs arrays once. It allocates the results without a target.
  virtual void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) = 0;
  // A place for a batch to be; it waits for one.
  [[nodiscard]] virtual std::unique_ptr<GatheredRun> gather() = 0;
  // The same, or null where there is none at the moment, or where batches with inputs as large as
  // this gain nothing from being there early.
  [[nodiscard]] virtual std::unique_ptr<GatheredRun> try_gather(std::size_t largest_input) = 0;
};

}  // namespace fasttrt::engine
