#include "serving/mailbox.hpp"

#include <sys/eventfd.h>

#include <tuple>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::serving {

Mailbox::Mailbox() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!descriptor_) throw Error("no event descriptor: the process has too many files open");
}

void Mailbox::post(Task task) {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  if (tasks_.empty()) std::ignore = eventfd_write(descriptor_.get(), 1);
  tasks_.push_back(std::move(task));
}

std::vector<Mailbox::Task> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  eventfd_t count = 0;
  if (!tasks_.empty()) std::ignore = eventfd_read(descriptor_.get(), &count);
  return std::exchange(tasks_, {});
}

void Mailbox::close() {
  std::vector<Task> dropped;  // after the lock
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  dropped.swap(tasks_);
}

}  // namespace fasttrt::serving
