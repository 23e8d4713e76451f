// One client of gRPC.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "serving/connection.hpp"
#include "serving/file_descriptor.hpp"
#include "serving/grpc/grpc_stream.hpp"
#include "serving/grpc/http2_session.hpp"
#include "serving/grpc/infer_message.hpp"
#include "serving/grpc/output_queue.hpp"

namespace fasttrt::serving {

class EventLoop;

namespace grpc {

// Used by its event loop's thread. Its calls run side by side; each ends by itself.
class GrpcConnection final : public Connection, private Http2Events {
 public:
  // The loop watches the socket for input, and destroys the connection once it is closed.
  GrpcConnection(EventLoop& loop, FileDescriptor socket, std::string peer);
  ~GrpcConnection() override { close(); }

  void on_events(std::uint32_t events) override;
  [[nodiscard]] Clock::time_point deadline() const noexcept override;
  void on_deadline() override;
  void advance_or_close() noexcept override;
  void refuse(std::string_view reason) override;
  void drain() override;
  void close() noexcept override;

  // For its calls.
  [[nodiscard]] EventLoop& loop() const noexcept { return loop_; }
  [[nodiscard]] Http2Session& session() noexcept { return session_; }
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  // To read messages with.
  [[nodiscard]] InferMessage& scratch() noexcept { return scratch_; }
  // Messages of a client are alike: the next one's data probably belong where the last one's did.
  [[nodiscard]] MessageMemory& memory() noexcept { return memory_; }

 private:
  void on_begin(std::int32_t stream) override;
  void on_header(std::int32_t stream, const HeaderField& header) override;
  void on_head(std::int32_t stream) override;
  void on_data(std::int32_t stream, std::string_view bytes) override;
  void on_end(std::int32_t stream) override;
  void on_pong() override { is_pinged_ = false; }
  void on_close(std::int32_t stream) override { streams_.erase(stream); }
  Available available(std::int32_t stream, std::size_t most) override;
  bool send(std::int32_t stream, std::string_view head, std::size_t bytes) override;

  [[nodiscard]] GrpcStream* find(std::int32_t stream) noexcept;
  [[nodiscard]] bool receive();
  void advance();
  [[nodiscard]] bool write();
  void end() noexcept;

  EventLoop& loop_;
  FileDescriptor socket_;
  const std::string peer_;
  Http2Session session_;
  std::unordered_map<std::int32_t, std::unique_ptr<GrpcStream>> streams_;
  OutputQueue output_;
  InferMessage scratch_;
  MessageMemory memory_;

  std::uint32_t interest_ = EPOLLIN;
  bool is_blocked_ = false;    // the socket takes no more at the moment
  bool is_lingering_ = false;  // all is written; what still comes is dropped
  bool has_called_ = false;    // the client, anything
  bool is_pinged_ = false;     // and has not answered
  Clock::time_point active_at_;
  Clock::time_point pinged_at_;  // or: lingering since
};

}  // namespace grpc
}  // namespace fasttrt::serving
