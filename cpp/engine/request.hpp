// One run that was asked for: its arrays, and what becomes of it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/ref.hpp"
#include "engine/array.hpp"
#include "engine/host_buffer.hpp"

namespace fasttrt::engine {

class CompletionChannel;
class RequestList;
struct QueuedBatch;
class Request;
using RequestRef = Ref<Request>;

enum class Priority : std::uint8_t { normal, high };

// Copies of a request's inputs, which may be changed then.
struct StagedInputs {
  std::vector<HostBuffer> blocks;
  std::vector<InputArray> arrays;
};

// cancelled: before it began. late: it did not begin, or not end, by its deadline.
enum class Outcome : std::uint8_t { pending, ok, error, late, cancelled };

// Made by whoever asks, who sets what is public and submits it; then the dispatcher's until it is
// done. It lives as long as somebody refers to it.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): destroy() alone may delete it
class Request {
 public:
  using Clock = std::chrono::steady_clock;

  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // The arrays, in host memory. With a request that has none only its own kind of runner knows what
  // to do.
  [[nodiscard]] virtual std::span<const InputArray> inputs() const noexcept { return {}; }
  [[nodiscard]] virtual std::span<OutputArray> outputs() noexcept { return {}; }

  Priority priority = Priority::normal;
  std::optional<Clock::time_point> deadline;
  std::shared_ptr<CompletionChannel> channel;  // gets it when it is done; null: none
  // Whether other threads help to copy large arrays when it is submitted: for who sends many from
  // one thread. Many that wait for one each would get in each other's way.
  bool shares_copies = false;
  // Dimension 0 of the first input, as statistics show it. Of requests without inputs() theirs.
  std::int64_t batch_size = 1;

  [[nodiscard]] bool is_done() const noexcept { return (word_.load() & done_bit) != 0; }
  // Whether it is neither in the queue nor done.
  [[nodiscard]] bool is_running() const noexcept {
    return (word_ & (begun_bit | done_bit)) == begun_bit;
  }
  // Sleeps until it is done, or the time has come; returns is_done(). From any number of threads.
  [[nodiscard]] bool wait_until(Clock::time_point time) const noexcept;

  // Samples along dimension 0 where requests share runs, otherwise 1.
  [[nodiscard]] std::int64_t rows() const noexcept { return rows_; }

  // Once it is done.
  [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

  // Once it has run: when it came into the queue, and when its run began and ended, before which
  // its results may not have been copied.
  struct Times {
    Clock::time_point queued;
    Clock::time_point begun;
    Clock::time_point ended;
  };
  [[nodiscard]] Times times() const noexcept { return {queued_at_, begun_at_, ended_at_}; }

  // For Ref.
  void acquire() noexcept { word_ += one_reference; }
  void release() noexcept { drop(one_reference); }

 protected:
  virtual ~Request();
  // Nobody refers to it any more; on whatever thread let go of it last.
  virtual void destroy() noexcept { delete this; }

 private:
  friend class RequestList;
  friend class BatchQueue;
  friend class Dispatcher;

  [[nodiscard]] std::span<const InputArray> staged_inputs() const noexcept {
    return staged_.arrays.empty() ? inputs() : std::span<const InputArray>(staged_.arrays);
  }

  // What has become of it and how many refer to it are one word: a thread that sees that it is done
  // may rely on the dispatcher's having let go of it, and of its arrays.
  static constexpr std::size_t bells = 64;
  static constexpr std::uint32_t done_bit = 1;
  static constexpr std::uint32_t begun_bit = 2;
  static constexpr std::uint32_t one_reference = 4;

  void drop(std::uint32_t amount) noexcept {
    const auto word = word_ -= amount;
    if (word < one_reference) destroy();
  }
  void begin() noexcept { word_ |= begun_bit; }
  // Tells everybody: those that wait, and the channels.
  static void finish(std::span<RequestRef> requests) noexcept;

  std::atomic<std::uint32_t> word_ = 0;
  Outcome outcome_ = Outcome::pending;  // written under the dispatcher's lock
  std::exception_ptr error_;
  std::uint8_t bell_ = 0;  // which one rings when it is done
  bool spins_ = false;     // whether who waits for it may spin for a while

  std::int64_t rows_ = 1;
  StagedInputs staged_;

  // The dispatcher's, under its lock: its place in a list or in a batch.
  RequestList* list_ = nullptr;
  QueuedBatch* batch_ = nullptr;
  std::size_t member_ = 0;
  Request* before_ = nullptr;
  Request* after_ = nullptr;
  Clock::time_point queued_at_;
  Clock::time_point begun_at_;  // its run
  Clock::time_point ended_at_;  // its run, whose results may have to be copied yet
};

}  // namespace fasttrt::engine
