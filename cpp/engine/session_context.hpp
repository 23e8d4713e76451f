// A session's execution context, which is told what it does not know yet, and made anew at times.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/context_shapes.hpp"
#include "engine/io_tensor.hpp"
#include "engine/shared_session_state.hpp"
#include "nvinfer/output_allocator.hpp"
#include "nvinfer/profiler.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

// The device must be current in every call.
class SessionContext {
 public:
  // config may be null. Throws EngineLoadError or OutOfMemoryError.
  SessionContext(SharedSessionState& shared, std::shared_ptr<nvinfer::RuntimeConfig> config);

  // To be held in all calls below that may compile kernels, see SharedSessionState.
  [[nodiscard]] std::unique_lock<std::mutex> lock_compiling() const;

  // Whether it must be made anew, having seen too many shapes, or because that failed the last
  // time. renew() does it, once nothing uses the old one; it throws what the constructor throws.
  [[nodiscard]] bool is_worn() const noexcept;
  void renew();

  // These throw Error with TensorRT's error lines, set_inputs() InputError.
  [[nodiscard]] std::size_t profile() const noexcept { return shapes_.profile(); }
  void select_profile(std::size_t profile, cuda::StreamRef stream);
  void set_inputs(std::span<const InputArray> arrays, std::span<void* const> addresses);
  void bind(const std::string& tensor, void* address);
  void bind(const std::string& output, nvinfer::OutputAllocator& allocator);

  // For the inputs as set: -1 for a dimension that only a run can tell.
  [[nodiscard]] std::vector<Dims> output_shapes() const;
  // False where TensorRT refuses; it logs why.
  [[nodiscard]] bool enqueue(cuda::StreamRef stream) { return context_->enqueue(stream); }
  void set_profiler(nvinfer::Profiler* profiler) { context_->set_profiler(profiler); }

  // After a failure: the next set_inputs() sets all shapes.
  void forget_shapes() noexcept { shapes_.forget(); }

 private:
  [[nodiscard]] std::unique_ptr<nvinfer::ExecutionContext> create() const;

  SharedSessionState& shared_;
  std::shared_ptr<nvinfer::RuntimeConfig> config_;
  ContextShapes shapes_;
  bool is_v8_;
  std::unique_ptr<nvinfer::ExecutionContext> context_;  // null if renew() failed
};

}  // namespace fasttrt::engine
