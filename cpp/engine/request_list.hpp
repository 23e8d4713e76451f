// Requests in a row, any of which can leave it at once.
#pragma once

#include <cstddef>

#include "engine/request.hpp"

namespace fasttrt::engine {

// Needs its owner's lock. The requests are its links, so that it allocates nothing.
class RequestList {
 public:
  RequestList() = default;
  ~RequestList() {
    while (!empty()) pop();
  }
  RequestList(const RequestList&) = delete;
  RequestList& operator=(const RequestList&) = delete;

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] Request* front() const noexcept { return first_; }
  [[nodiscard]] static Request* next(const Request& request) noexcept { return request.after_; }

  // A request is in one list at most.
  void push(RequestRef request) noexcept {
    auto* const added = request.take();
    added->list_ = this;
    added->before_ = last_;
    (last_ != nullptr ? last_->after_ : first_) = added;
    last_ = added;
  }

  RequestRef pop() noexcept { return remove(*first_); }

  // Only of one that is in this list.
  RequestRef remove(Request& request) noexcept {
    auto* const before = request.before_;
    auto* const after = request.after_;
    (before != nullptr ? before->after_ : first_) = after;
    (after != nullptr ? after->before_ : last_) = before;
    request.list_ = nullptr;
    request.before_ = request.after_ = nullptr;
    return RequestRef::adopt(&request);
  }

 private:
  Request* first_ = nullptr;
  Request* last_ = nullptr;
};

}  // namespace fasttrt::engine
