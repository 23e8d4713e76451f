// Copies of large arrays in host memory, shared with a few threads that are kept for it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace fasttrt {

// A function that a call borrows: the bytes from `begin` on, `count` of them, have been copied.
class PieceSink {
 public:
  PieceSink() noexcept = default;
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, PieceSink>)
  PieceSink(F&& function) noexcept  // NOLINT(*-explicit-*,*-std-forward): a lambda at the call
      : object_(&function), call_([](void* object, std::size_t begin, std::size_t count) {
          (*static_cast<std::remove_reference_t<F>*>(object))(begin, count);
        }) {}

  void operator()(std::size_t begin, std::size_t count) const {
    if (call_ != nullptr) call_(object_, begin, count);
  }

 private:
  void* object_ = nullptr;
  void (*call_)(void*, std::size_t, std::size_t) = nullptr;
};

// One core copies some 10 GB/s from memory that its own cache does not hold, a fifth of what PCIe
// carries. The threads sleep unless large copies come at short intervals; between such copies they
// spin, as waking up (13 us, measured in a virtual machine on an H100's host) takes as long as the
// copy of an image. One copy at a time is shared; a second caller meanwhile copies alone.
class CopyPool {
 public:
  // Starts no thread before the first copy that is worth it.
  explicit CopyPool(unsigned helpers) noexcept : wanted_(helpers) {}
  ~CopyPool();
  CopyPool(const CopyPool&) = delete;
  CopyPool& operator=(const CopyPool&) = delete;

  // The process's own, with a thread for every fourth core it may run on, 3 at most. It lives as
  // long as the process: an engine may be closed at the very end.
  static CopyPool& instance();

  // Copies; dst and src do not overlap. piece_done is called on this thread for one piece after the
  // other, in order, while the others are being copied; what it throws ends the copy and is thrown.
  void copy(void* dst, const void* src, std::size_t bytes, PieceSink piece_done = {});

 private:
  static constexpr std::size_t max_pieces = 32;

  struct Job {  // read by helpers that may be late, so nothing of it is a plain variable
    std::atomic<std::byte*> dst;
    std::atomic<const std::byte*> src;
    std::atomic<std::size_t> bytes;
    std::atomic<std::size_t> piece;  // bytes of each, the last excepted
    std::atomic<std::uint32_t> chunks;
    std::array<std::atomic<std::uint32_t>, max_pieces> done;  // chunks of each piece
  };

  [[nodiscard]] bool is_worth_sharing(std::size_t bytes) const noexcept;
  void share(std::byte* dst, const std::byte* src, std::size_t bytes, std::size_t piece,
             PieceSink piece_done);
  [[nodiscard]] std::uint32_t publish(std::byte* dst, const std::byte* src, std::size_t bytes,
                                      std::size_t piece) noexcept;
  void start_helpers() noexcept;
  void help(std::uint32_t generation) noexcept;
  [[nodiscard]] bool copy_chunk(std::uint32_t generation) noexcept;

  const unsigned wanted_;
  std::mutex mutex_;  // of who shares a copy; guards what is below up to the job
  std::vector<std::thread> helpers_;
  bool started_ = false;
  std::int64_t last_ = 0;  // when the last copy that could be shared ended, steady clock, ns

  Job job_{};
  // The job's generation and its next chunk in one word, so that a late helper takes no chunk of
  // another job. A chunk that was taken keeps its job from ending.
  std::atomic<std::uint64_t> ticket_ = 0;
  std::atomic<std::uint32_t> generation_ = 0;  // what helpers wait for
  std::atomic<bool> stop_ = false;
};

}  // namespace fasttrt
