// Text that is written in a thread of its own, so that who has it never waits for a file.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace fasttrt::serving {

class BackgroundWriter {
 public:
  // Writes text, on the writer's thread; `dropped`: how many pieces before it got lost.
  using Sink = std::function<void(std::string_view text, std::uint64_t dropped)>;

  explicit BackgroundWriter(Sink sink);
  // Closes it.
  ~BackgroundWriter() { close(); }
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  // From any thread. The text is dropped where too much waits, and once it is closed.
  void write(std::string_view text) noexcept;
  // Waits until all is written.
  void close() noexcept;

 private:
  void run();

  const Sink sink_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;
  std::uint64_t dropped_ = 0;
  bool is_closed_ = false;
  std::mutex closing_;
  std::thread thread_;
};

}  // namespace fasttrt::serving
