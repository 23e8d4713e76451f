#pragma once

#include <pthread.h>

#include <functional>

namespace fasttrt {

// A thread with room for deep recursion: TensorRT's builder follows a chain of nodes to its end,
// and a stack of the usual 8 MiB ends at some 3,000 of them. Memory is taken as it is used.
// Destruction waits for the thread.
class DeepThread {
 public:
  // Throws std::system_error if there can be no thread. `work` must not throw.
  explicit DeepThread(std::function<void()> work);
  ~DeepThread();
  DeepThread(const DeepThread&) = delete;
  DeepThread& operator=(const DeepThread&) = delete;

 private:
  std::function<void()> work_;
  pthread_t thread_{};
};

}  // namespace fasttrt
