#include "serving/control_queue.hpp"

#include "common/error.hpp"

namespace fasttrt::serving {
namespace {

constexpr int grpc_internal = 13;
constexpr auto dropped = "the request was dropped without an answer";

}  // namespace

ControlRequest::~ControlRequest() {
  if (!on_response) return;
  try {
    auto response = error_response(500, dropped);
    if (is_grpc) {
      response.status = grpc_internal;
      response.body = dropped;
    }
    on_response(std::move(response));
  } catch (const std::exception&) {
    return;  // without memory for the answer there is none
  }
}

void ControlRequest::respond(HttpResponse response) {
  Respond respond;
  {
    const std::lock_guard lock(responding_);
    respond = std::exchange(on_response, nullptr);
  }
  if (!respond) throw Error("the request was answered before");
  respond(std::move(response));
}

bool ControlQueue::push(RequestPtr& request) {
  const std::lock_guard lock(mutex_);
  if (is_closed_ || waiting_.size() >= max_waiting_) return false;
  waiting_.push_back(std::move(request));
  changed_.notify_one();
  return true;
}

void ControlQueue::report(EngineFailure failure) {
  const std::lock_guard lock(mutex_);
  failures_.push_back(std::move(failure));
  has_news_ = true;
  changed_.notify_one();
}

std::vector<EngineFailure> ControlQueue::take_failures() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failures_, {});
}

ControlQueue::RequestPtr ControlQueue::pop_until(Clock::time_point time) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, time, [&] { return is_closed_ || has_news_ || !waiting_.empty(); });
  has_news_ = false;
  if (waiting_.empty()) return nullptr;
  auto request = std::move(waiting_.front());
  waiting_.pop_front();
  return request;
}

void ControlQueue::close() {
  std::deque<RequestPtr> dropped;  // after the lock
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  dropped.swap(waiting_);
  changed_.notify_all();
}

bool ControlQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return is_closed_;
}

}  // namespace fasttrt::serving
