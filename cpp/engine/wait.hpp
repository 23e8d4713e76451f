// How a thread waits for the GPU.
#pragma once

#include <memory>

#include "cuda/event.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::engine {

// spin: asks again and again, the quickest. yield: the same, but lets other threads run between.
// block: sleeps until the GPU is done, which leaves the core to others and takes some 20 us longer
// to wake up. automatic: spins for a while, as long as short runs take, then blocks.
enum class WaitPolicy { automatic, spin, yield, block };

// Wait after a failure, which is the error to report: what goes wrong here is only logged.
void synchronize_quietly(cuda::StreamRef stream) noexcept;
void synchronize_quietly(cuda::EventRef event) noexcept;

class Waiter {
 public:
  Waiter(const std::shared_ptr<cuda::PrimaryContext>& device, WaitPolicy policy);

  // Waits for what is queued in the stream. Throws CudaError.
  void wait(cuda::StreamRef stream) const;

 private:
  WaitPolicy policy_;
  cuda::Event event_;
};

}  // namespace fasttrt::engine
