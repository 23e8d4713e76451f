// Batches that are being gathered, and those that wait for a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/batch.hpp"
#include "engine/batch_pace.hpp"
#include "engine/batching.hpp"
#include "engine/request.hpp"

namespace fasttrt::engine {

// One of the devices, as far as it matters for when a batch goes to it. Under the owner's lock.
struct Lane {
  Runner& runner;
  int computing = 0;                      // runs under way
  int unplaced = 0;                       // those of them that may still wait for a place there
  int gathering = 0;                      // workers that bring an open batch there
  Request::Clock::time_point idle_since;  // the end of the last run
  std::uint64_t begun = 0;                // runs so far
  std::int64_t last_size = 0;             // of the last that ended, with padding
};

// A batch in the queue. Changed under the owner's lock only, its rows excepted.
struct QueuedBatch : Batch {
  QueuedBatch(const RunTensors& tensors, const Request& first, std::vector<std::int64_t> usable,
              const BatchingOptions& options, std::uint8_t bell);

  const Priority priority;
  const std::vector<std::int64_t> sizes;  // of the options', those that a profile takes
  const std::int64_t capacity;            // rows without padding
  const Request::Clock::time_point opened = Request::Clock::now();
  int copying = 0;                 // members whose rows are on their way into the batch
  int live = 0;                    // members that were not withdrawn
  bool is_sealed = false;          // nobody joins any more, and it waits for nobody
  bool is_incomplete = false;      // a member could not bring its rows
  bool is_announced = false;       // to the workers
  bool is_refused = false;         // no device has a place for it while it is open
  const std::uint8_t bell;         // that of all its members
  const void* gatherer = nullptr;  // the worker that brings it to a device, whose it will be
};

// Requests join the open batch of their kind. It goes to a device when it is full, or has waited
// for the delay; and while the device is busy with another run a batch that is not full goes on
// gathering, which costs nothing. Needs its owner's lock.
class BatchQueue {
 public:
  using Clock = Request::Clock;
  using BatchPtr = std::shared_ptr<QueuedBatch>;

  // The tensors outlive the queue. Throws InputError for options that contradict themselves or an
  // engine that cannot be batched, naming the tensor.
  BatchQueue(const RunTensors& tensors, BatchingOptions options, std::size_t devices = 1);

  // Whether such a request may share a run: all in host memory, max_size samples at most, as many
  // in every input. Others are to run alone. Needs no lock.
  [[nodiscard]] bool accepts(Request& request) const noexcept;

  // A request's place in a batch.
  struct Seat {
    BatchPtr batch;
    std::size_t member = 0;
    std::int64_t offset = 0;  // of its first row
  };
  // Where the request is now, whose rows are to be copied there; no batch where the profiles allow
  // none with these samples.
  [[nodiscard]] Seat join(const RequestRef& request);
  // The member's rows are there, or could not be brought. Returns whether that is of interest to
  // workers that wait.
  [[nodiscard]] bool joined(const Seat& seat, bool is_copied) noexcept;
  // Takes a member's request out of its batch, which may go with it.
  RequestRef withdraw(QueuedBatch& batch, std::size_t member) noexcept;

  // The first batch of the priority that is ready for the device, out of the queue.
  [[nodiscard]] BatchPtr take(Priority priority, const Lane& lane, const void* worker,
                              Clock::time_point now);
  // When a batch will be ready for the worker's device if nothing else changes; max(): never.
  [[nodiscard]] Clock::time_point next_due(const Lane& lane, const void* worker) const noexcept;
  // Whether a batch that is still open will go to the device so soon that it may hold a place
  // there, which no run waits for.
  [[nodiscard]] bool goes_soon(const QueuedBatch& batch, const Lane& lane) const noexcept;
  // Whether a worker brings an open batch to its device.
  [[nodiscard]] bool is_gathering() const noexcept;
  // The first that is still open and that no other worker gathers.
  [[nodiscard]] BatchPtr first_open(const void* worker) const noexcept;

  [[nodiscard]] bool empty() const noexcept { return batches_.empty(); }
  [[nodiscard]] const std::deque<BatchPtr>& batches() const noexcept { return batches_; }
  // The size that a request is run in alone; 0 where the profiles allow none.
  [[nodiscard]] std::int64_t size_alone(const Request& request) const;

  // Rows that began to run, or ended. time: see BatchPace.
  void began(std::int64_t rows) noexcept;
  void ended(std::int64_t rows, std::int64_t size, Clock::duration time);
  // Whether a request with these rows would wait for nobody, and nobody is before it.
  [[nodiscard]] bool is_alone(std::int64_t rows) const noexcept;

  // From now on no batch waits for others to join.
  void flush() noexcept { is_flushing_ = true; }

 private:
  [[nodiscard]] Clock::time_point due(const QueuedBatch& batch, const Lane& lane) const noexcept;
  [[nodiscard]] BatchPtr open(const RequestRef& request);
  [[nodiscard]] std::int64_t useful_rows(const QueuedBatch& batch) const noexcept;
  [[nodiscard]] bool all_are_here() const noexcept { return waiting_ + running_ >= expected_; }

  const RunTensors& tensors_;
  const BatchingOptions options_;
  std::deque<BatchPtr> batches_;  // in the order in which they were opened
  bool is_flushing_ = false;

  // Clients that have sent their next request are not waited for. All are known to have when there
  // are as many rows as there were at most, lately: until a batch has waited in vain.
  std::int64_t waiting_ = 0;  // rows
  std::int64_t running_ = 0;
  std::int64_t expected_;
  BatchPace pace_;
  std::uint8_t next_bell_ = 0;
};

}  // namespace fasttrt::engine
