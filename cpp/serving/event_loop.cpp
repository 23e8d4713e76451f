#include "serving/event_loop.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "serving/infer_request.hpp"

namespace fasttrt::serving {
namespace {

// How late a timeout may be noticed.
constexpr auto check_interval = std::chrono::milliseconds(100);

}  // namespace

class EventLoop::MailboxSource final : public EventSource {
 public:
  explicit MailboxSource(EventLoop& loop) : loop_(loop) {}
  void on_events(std::uint32_t /*events*/) override { loop_.run_tasks(); }

 private:
  EventLoop& loop_;
};

class EventLoop::ChannelSource final : public EventSource {
 public:
  explicit ChannelSource(EventLoop& loop) : loop_(loop) {}
  void on_events(std::uint32_t /*events*/) override { loop_.deliver_results(); }

 private:
  EventLoop& loop_;
};

EventLoop::EventLoop(ServerState& server) : server_(server), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw Error("no epoll descriptor: the process has too many files open");
  own_sources_.push_back(std::make_unique<MailboxSource>(*this));
  watch(mailbox_->descriptor(), *own_sources_.back(), EPOLLIN);
  own_sources_.push_back(std::make_unique<ChannelSource>(*this));
  watch(channel_->descriptor(), *own_sources_.back(), EPOLLIN);
}

EventLoop::~EventLoop() { stop(); }

void EventLoop::start() {
  thread_ = std::thread([this] { run(); });
}

void EventLoop::stop() {
  is_stopping_ = true;
  mailbox_->post([] {});
  if (thread_.joinable()) thread_.join();
  mailbox_->close();
  channel_->close();
  std::ignore = channel_->take();  // which hold the channel that holds them
}

void EventLoop::watch(int descriptor, EventSource& source, std::uint32_t events) {
  epoll_event event{events, {.ptr = &source}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) {
    throw Error("the system watches no more descriptors");
  }
}

void EventLoop::change(int descriptor, EventSource& source, std::uint32_t events) noexcept {
  epoll_event event{events, {.ptr = &source}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, descriptor, &event);
}

void EventLoop::close(FileDescriptor& socket) noexcept {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.get(), nullptr);
  ::shutdown(socket.get(), SHUT_RDWR);
  socket.reset();
}

void EventLoop::adopt(int socket, std::unique_ptr<Connection> connection, bool is_refused) {
  try {
    watch(socket, *connection, EPOLLIN);
  } catch (const Error&) {
    return;  // the client sees it closed
  }
  auto* const added = connection.get();
  connections_.emplace(added, std::move(connection));
  ++connection_count_;
  if (is_refused) added->refuse("the server has as many connections as it may");
  if (server_.is_draining) added->drain();
}

void EventLoop::discard(Connection& connection) {
  const auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  closed_.push_back(std::move(found->second));
  connections_.erase(found);
  --connection_count_;
}

void EventLoop::drain() {
  std::vector<Connection*> all;
  all.reserve(connections_.size());
  for (const auto& [connection, owner] : connections_) all.push_back(connection);
  for (auto* const connection : all) connection->drain();
  const std::lock_guard lock(server_.mutex);
  ++server_.draining_loops;
  server_.changed.notify_all();
}

void EventLoop::run() {
  std::array<epoll_event, 64> events{};
  while (!is_stopping_) {
    const bool has_times = !connections_.empty() || !retries_.empty();
    const auto interval = static_cast<int>(check_interval.count());
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 has_times ? interval : -1);
    now_ = Clock::now();
    for (int i = 0; i < count; ++i) {
      const auto& event = events.at(static_cast<std::size_t>(i));
      static_cast<EventSource*>(event.data.ptr)->on_events(event.events);
    }
    if (now_ >= next_check_) check_times();
    closed_.clear();
  }
  for (auto& [connection, owner] : std::exchange(connections_, {})) connection->close();
  connection_count_ = 0;
}

void EventLoop::run_tasks() {
  for (const auto& task : mailbox_->take()) {
    try {
      task();
    } catch (const std::bad_alloc&) {
      continue;  // a client waits in vain, until its timeout
    }
  }
}

void EventLoop::deliver_results() {
  std::vector<Connection*> answered;
  for (auto& done : channel_->take()) {
    // Nothing else comes here.
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-static-cast-downcast)
    const auto request = InferRequestRef::adopt(static_cast<InferRequest*>(done.take()));
    auto* const waiter = request->waiter;
    if (waiter == nullptr) {
      request->count_as_canceled();
      continue;
    }
    if (request->is_engine_lost()) server_.control.report(request->engine_failure());
    auto* const connection = waiter->connection();
    try {
      waiter->on_result(*request);
    } catch (const std::bad_alloc&) {
      connection->close();
      continue;
    }
    if (answered.empty() || answered.back() != connection) answered.push_back(connection);
  }
  for (auto* const connection : answered) connection->advance_or_close();
}

void EventLoop::check_times() {
  next_check_ = now_ + check_interval;
  std::erase_if(retries_, [](const auto& function) { return function(); });
  std::vector<Connection*> due;
  for (const auto& [connection, owner] : connections_) {
    if (connection->deadline() <= now_) due.push_back(connection);
  }
  for (auto* const connection : due) connection->on_deadline();
}

}  // namespace fasttrt::serving
