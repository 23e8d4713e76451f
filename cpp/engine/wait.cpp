#include "engine/wait.hpp"

#include <chrono>
#include <exception>
#include <thread>

#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

// Sleeping and waking up takes tens of microseconds: little next to this.
constexpr auto max_run_spin = std::chrono::milliseconds(2);

void synchronize_and_log(const auto& work) noexcept {
  auto& logger = nvinfer::Logger::instance();
  try {
    work.synchronize();
  } catch (const std::exception& error) {  // also one of memory, for its own message
    logger.log(nvinfer::Severity::verbose, error.what());
  } catch (...) {
    logger.log(nvinfer::Severity::verbose, "waiting failed");
  }
}

}  // namespace

void synchronize_quietly(cuda::StreamRef stream) noexcept { synchronize_and_log(stream); }
void synchronize_quietly(cuda::EventRef event) noexcept { synchronize_and_log(event); }

Waiter::Waiter(const std::shared_ptr<cuda::PrimaryContext>& device, WaitPolicy policy)
    : policy_(policy), event_(device, cuda::EventTiming::off, cuda::EventWait::block) {}

void Waiter::wait(cuda::StreamRef stream) const {
  event_.record(stream);  // what others queue there from now on is not waited for
  const auto start = std::chrono::steady_clock::now();
  while (policy_ != WaitPolicy::block) {
    if (event_.is_done()) return;
    if (policy_ == WaitPolicy::yield) std::this_thread::yield();
    if (policy_ != WaitPolicy::automatic) continue;
    if (std::chrono::steady_clock::now() - start > max_run_spin) break;
  }
  event_.synchronize();
}

}  // namespace fasttrt::engine
