#include "serving/grpc/output_queue.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace fasttrt::serving::grpc {
namespace {

// Less is copied.
constexpr std::size_t min_referred = std::size_t{4} << 10;
constexpr std::size_t max_pieces = 64;

}  // namespace

void OutputQueue::append(std::string_view bytes) {
  if (chunks_.empty() || !chunks_.back().bytes.empty()) chunks_.emplace_back();
  chunks_.back().text += bytes;
  size_ += bytes.size();
}

void OutputQueue::append(std::string_view bytes, std::shared_ptr<const void> keeper) {
  if (bytes.size() < min_referred) return append(bytes);
  if (chunks_.empty() || !chunks_.back().bytes.empty()) chunks_.emplace_back();
  chunks_.back().bytes = bytes;
  chunks_.back().keeper = std::move(keeper);
  size_ += bytes.size();
}

OutputQueue::Result OutputQueue::write(int socket) {
  while (!chunks_.empty()) {
    std::array<iovec, max_pieces> pieces{};
    std::size_t count = 0;
    std::size_t total = 0;
    auto skipped = written_;
    for (const auto& chunk : chunks_) {
      if (count + 2 > pieces.size()) break;
      for (std::string_view piece : {std::string_view(chunk.text), chunk.bytes}) {
        const auto done = std::min(skipped, piece.size());
        skipped -= done;
        piece.remove_prefix(done);
        if (piece.empty()) continue;
        pieces.at(count++) = {const_cast<char*>(piece.data()), piece.size()};
        total += piece.size();
      }
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const auto sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Result::blocked : Result::failed;
    }
    advance(static_cast<std::size_t>(sent));
    if (std::cmp_less(sent, total)) return Result::blocked;
  }
  return Result::written;
}

void OutputQueue::advance(std::size_t bytes) noexcept {
  size_ -= bytes;
  written_ += bytes;
  while (!chunks_.empty()) {
    const auto size = chunks_.front().text.size() + chunks_.front().bytes.size();
    if (written_ < size) return;
    written_ -= size;
    chunks_.pop_front();
  }
}

}  // namespace fasttrt::serving::grpc
