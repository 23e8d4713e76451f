// A thread with the connections that it serves.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/completion_channel.hpp"
#include "serving/connection.hpp"
#include "serving/event_source.hpp"
#include "serving/file_descriptor.hpp"
#include "serving/infer_header.hpp"
#include "serving/mailbox.hpp"
#include "serving/server_state.hpp"

namespace fasttrt::serving {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;

  // Throws Error where the process may open no more files.
  explicit EventLoop(ServerState& server);
  // Stops it.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // From any thread.
  void start();
  // Closes all connections at once, and waits for the thread.
  void stop();
  void post(Mailbox::Task task) { mailbox_->post(std::move(task)); }
  [[nodiscard]] int connections() const noexcept { return connection_count_; }

  // The rest is for the loop's own thread, or before it starts.
  [[nodiscard]] ServerState& server() const noexcept { return server_; }
  [[nodiscard]] Clock::time_point now() const noexcept { return now_; }
  [[nodiscard]] const std::shared_ptr<Mailbox>& mailbox() const noexcept { return mailbox_; }
  [[nodiscard]] const std::shared_ptr<engine::CompletionChannel>& channel() const noexcept {
    return channel_;
  }
  // For whatever is done at once.
  [[nodiscard]] std::span<char> scratch() noexcept { return scratch_; }
  [[nodiscard]] InferHeader& infer_header() noexcept { return infer_header_; }

  // Throws Error where the system watches no more descriptors.
  void watch(int descriptor, EventSource& source, std::uint32_t events);
  void change(int descriptor, EventSource& source, std::uint32_t events) noexcept;
  // Closes a socket that it watches, also for its other end where a process that was forked has a
  // copy: the system would go on watching that one, and the client would wait for it.
  void close(FileDescriptor& socket) noexcept;
  // Takes a connection over, with its socket; is_refused: to answer that there are too many.
  void adopt(int socket, std::unique_ptr<Connection> connection, bool is_refused);
  // A connection that is closed is destroyed once nothing refers to it.
  void discard(Connection& connection);
  void drain();
  // Calls the function soon, a few times a second at least, until it returns true.
  void retry(std::function<bool()> function) { retries_.push_back(std::move(function)); }

 private:
  class MailboxSource;
  class ChannelSource;

  void run();
  void run_tasks();
  void deliver_results();
  void check_times();

  ServerState& server_;
  const FileDescriptor epoll_;
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  const std::shared_ptr<engine::CompletionChannel> channel_ =
      std::make_shared<engine::CompletionChannel>();
  std::vector<std::unique_ptr<EventSource>> own_sources_;
  Clock::time_point now_ = Clock::now();
  Clock::time_point next_check_ = now_;
  std::vector<char> scratch_ = std::vector<char>(std::size_t{64} << 10);
  InferHeader infer_header_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> closed_;
  std::vector<std::function<bool()>> retries_;
  std::atomic<int> connection_count_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
};

}  // namespace fasttrt::serving
