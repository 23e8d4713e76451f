// A dispatcher's request as Python sees it.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>

#include "bindings/process.hpp"
#include "bindings/waiting.hpp"
#include "common/ref.hpp"
#include "engine/dispatcher.hpp"
#include "engine/request.hpp"

PYBIND11_DECLARE_HOLDER_TYPE(T, fasttrt::Ref<T>, true);

namespace fasttrt::bindings {

// Holds Python objects, so it is destroyed with the GIL only: where a thread without lets go of it
// last, the next bury_dead() destroys it.
class PyRequest : public engine::Request {
 public:
  explicit PyRequest(const std::shared_ptr<engine::Dispatcher>& dispatcher)
      : dispatcher_(dispatcher) {}

  // Once it is done: the run's results, the same list each time. Throws what the run threw, or
  // Error for one that was cancelled.
  [[nodiscard]] pybind11::object results();
  // Whether it is done by then; Ctrl-C is heeded.
  [[nodiscard]] bool wait(std::optional<Clock::time_point> end) const;
  bool cancel();
  void attach(std::shared_ptr<engine::CompletionChannel> channel, pybind11::object given);

  // Needs the GIL.
  static void bury_dead() noexcept;

  pybind11::object token = pybind11::none();

 protected:
  [[nodiscard]] virtual pybind11::list make_results() = 0;
  // Throws the error where it is one of Python's.
  virtual void throw_python_error() const {}

 private:
  void destroy() noexcept override;

  const Process process_;
  const std::weak_ptr<engine::Dispatcher> dispatcher_;
  std::mutex making_;
  pybind11::object results_;
  PyRequest* next_dead_ = nullptr;
};

}  // namespace fasttrt::bindings
