#include "serving/response_queue.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace fasttrt::serving {
namespace {

// Memory to write from, with its first bytes left out.
class Pieces {
 public:
  explicit Pieces(std::size_t skipped) noexcept : skipped_(skipped) {}

  [[nodiscard]] bool is_full() const noexcept { return count_ == pieces_.size(); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] iovec* data() noexcept { return pieces_.data(); }

  void add(std::string_view piece) noexcept {
    const auto skipped = std::min(skipped_, piece.size());
    skipped_ -= skipped;
    piece.remove_prefix(skipped);
    if (piece.empty() || is_full()) return;
    pieces_.at(count_++) = {const_cast<char*>(piece.data()), piece.size()};
    bytes_ += piece.size();
  }
  void add(const WireResponse& response) noexcept {
    add(response.text);
    add(response.body);
    for (const auto part : response.parts) add(part);
  }

 private:
  std::array<iovec, 64> pieces_{};
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  std::size_t skipped_;
};

}  // namespace

ResponseQueue::Result ResponseQueue::write(int socket) {
  while (!exchanges_.empty() && exchanges_.front()->answer) {
    Pieces pieces(written_);
    for (const auto& exchange : exchanges_) {
      const auto& answer = exchange->answer;
      if (!answer || pieces.is_full()) break;
      pieces.add(*answer);
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.count();
    const auto count = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Result::blocked : Result::failed;
    }
    const auto sent = static_cast<std::size_t>(count);
    advance(sent);
    if (sent < pieces.bytes()) return Result::blocked;
  }
  return Result::written;
}

void ResponseQueue::advance(std::size_t bytes) noexcept {
  written_ += bytes;
  while (!exchanges_.empty()) {
    const auto& answer = exchanges_.front()->answer;
    if (!answer) return;
    const auto size = answer->size();
    if (written_ < size) return;
    written_ -= size;
    if (const auto& record = exchanges_.front()->record) record->finish();
    exchanges_.pop_front();
  }
}

}  // namespace fasttrt::serving
