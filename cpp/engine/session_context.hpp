// A session's execution contexts, one for each profile that it has used. They are told what they do
// not know yet, and made anew at times.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/memory.hpp"
#include "cuda/stream.hpp"
#include "engine/array.hpp"
#include "engine/context_shapes.hpp"
#include "engine/io_tensor.hpp"
#include "engine/shared_session_state.hpp"
#include "nvinfer/output_allocator.hpp"
#include "nvinfer/profiler.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

using RuntimeConfigs = std::vector<std::shared_ptr<nvinfer::RuntimeConfig>>;

// A context keeps its profile: switching it would end the validity of the CUDA graphs that were
// captured in it. As a session runs one of its contexts at a time, they share their scratch memory.
// The device must be current in every call.
class SessionContext {
 public:
  // Makes the context of the first profile. configs: one for each profile, which may be null.
  // Throws EngineLoadError or OutOfMemoryError.
  SessionContext(SharedSessionState& shared, RuntimeConfigs configs);

  // To be held in all calls below that may compile kernels, see SharedSessionState.
  [[nodiscard]] std::unique_lock<std::mutex> lock_compiling() const;

  // Turns to the context of a profile, which is_missing() until renew() makes it.
  void select(std::size_t profile) noexcept { profile_ = profile; }
  [[nodiscard]] std::size_t profile() const noexcept { return profile_; }
  [[nodiscard]] bool is_missing() const noexcept { return current().context == nullptr; }
  // Whether it has seen too many shapes, and must be made anew.
  [[nodiscard]] bool is_worn() const noexcept;
  // Makes the context, once nothing uses the one that it replaces. Throws what the constructor
  // throws, or Error; the context is missing then.
  void renew(cuda::StreamRef stream);
  // Nothing uses any of the contexts: all are missing from now on.
  void drop_all() noexcept;

  // Device memory that runs need besides weights, inputs and outputs.
  [[nodiscard]] std::size_t scratch_bytes() const noexcept { return scratch_bytes_; }

  // Of the selected context, which must not be missing. These throw Error with TensorRT's error
  // lines, set_inputs() InputError.
  void set_inputs(std::span<const InputArray> arrays, std::span<void* const> addresses);
  void bind(const std::string& tensor, void* address);
  void bind(const std::string& output, nvinfer::OutputAllocator& allocator);

  // For the inputs as set: -1 for a dimension that only a run can tell.
  [[nodiscard]] std::vector<Dims> output_shapes() const;
  // False where TensorRT refuses; it logs why.
  [[nodiscard]] bool enqueue(cuda::StreamRef stream) { return current().context->enqueue(stream); }
  void set_profiler(nvinfer::Profiler* profiler) { current().context->set_profiler(profiler); }

  // After a failure: the next set_inputs() sets all shapes.
  void forget_shapes() noexcept { current().shapes.forget(); }

 private:
  struct ProfileContext {
    std::shared_ptr<nvinfer::RuntimeConfig> config;
    ContextShapes shapes;
    std::unique_ptr<nvinfer::ExecutionContext> context;
  };
  [[nodiscard]] ProfileContext& current() noexcept { return contexts_[profile_]; }
  [[nodiscard]] const ProfileContext& current() const noexcept { return contexts_[profile_]; }
  void create(std::optional<cuda::StreamRef> stream);

  SharedSessionState& shared_;
  bool is_v8_;
  std::size_t scratch_bytes_;
  cuda::DeviceBuffer scratch_;            // empty for an engine with a single profile
  std::vector<ProfileContext> contexts_;  // one for each profile
  std::size_t profile_ = 0;
};

}  // namespace fasttrt::engine
