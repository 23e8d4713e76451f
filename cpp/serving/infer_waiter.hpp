// Who waits for an infer request.
#pragma once

namespace fasttrt::serving {

class Connection;
class InferRequest;

// Used by its event loop's thread.
class InferWaiter {
 public:
  InferWaiter() = default;
  InferWaiter(const InferWaiter&) = delete;
  InferWaiter& operator=(const InferWaiter&) = delete;

  // The client's, which is there as long as somebody waits.
  [[nodiscard]] virtual Connection* connection() const noexcept = 0;
  // The request is done. Its answer is written by the connection's advance_or_close(), later.
  virtual void on_result(InferRequest& request) = 0;

 protected:
  ~InferWaiter() = default;
};

}  // namespace fasttrt::serving
