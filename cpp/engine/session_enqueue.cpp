// The part of Session that queues a run: in an execution context, or as a CUDA graph.
#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "engine/session.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

// The run at hand, bound and enqueued once.
class Session::QueuedRun final : public CapturableRun {
 public:
  explicit QueuedRun(Session& session) : session_(session) {}

  [[nodiscard]] bool enqueue() override {
    for (const auto& input : session_.inputs_) {
      if (copies_inputs_ && input.is_mapped()) input.queue_copy(session_.stream_);
    }
    return session_.context_.enqueue(session_.stream_);
  }
  [[nodiscard]] bool reads_host_memory() const override {
    return std::ranges::any_of(session_.inputs_, &InputSlot::is_mapped);
  }
  void copy_inputs() override {
    copies_inputs_ = true;
    for (std::size_t i = 0; i < session_.inputs_.size(); ++i) {
      const auto& input = session_.inputs_[i];
      if (input.is_mapped()) session_.context_.bind(session_.shared_.inputs[i].name, input.copy());
    }
  }

 private:
  Session& session_;
  bool copies_inputs_ = false;
};

// Needs the context's lock_compiling(). There are no graphs of the old context's memory afterwards.
void Session::renew_context(cuda::StreamRef stream) {
  stream.synchronize();
  stream_.synchronize();
  if (graphs_.is_context_suspect()) {  // whichever it was, as this may be another profile's run
    graphs_.reset();
    prepared_.clear();
    context_.drop_all();
  } else {
    graphs_.forget_profile(context_.profile());
    const auto profile = size_key(context_.profile(), {}).front();
    std::erase_if(prepared_, [&](const SizeKey& size) { return size.front() == profile; });
  }
  context_.renew(stream_);
}

// Needs the context's lock_compiling().
void Session::set_inputs(std::span<const InputArray> arrays, std::size_t profile,
                         cuda::StreamRef stream) {
  context_.select(profile);
  if (context_.is_missing() || context_.is_worn() || graphs_.is_context_suspect()) {
    renew_context(stream);
  }
  context_.set_inputs(arrays, addresses_);
}

// Returns false where there is nothing to replay, or no memory for it.
bool Session::replay(std::span<OutputArray> results, cuda::StreamRef stream) {
  const auto* const run = graphs_.find(key_);
  if (run == nullptr) return false;
  for (std::size_t i = 0; i < results.size(); ++i) {
    outputs_[i].prepare(results[i], run->output_shapes[i]);
  }
  return graphs_.launch(*run, stream);
}

void Session::enqueue(std::span<const InputArray> arrays, std::size_t profile,
                      std::span<OutputArray> results, cuda::StreamRef stream) {
  // A capture that failed leaves a context to be made anew, where this run compiles first.
  while (!enqueue_in_context(arrays, profile, results, stream)) {
  }
}

// Returns false, with nothing queued, where the context turned out to be suspect.
bool Session::enqueue_in_context(std::span<const InputArray> arrays, std::size_t profile,
                                 std::span<OutputArray> results, cuda::StreamRef stream) {
  const nvinfer::ErrorScope errors;
  context_.select(profile);  // is it worn?
  const bool is_known = is_prepared(arrays, profile);
  auto lock = is_known ? std::unique_lock<std::mutex>() : context_.lock_compiling();
  const auto start = RunClock::now();
  set_inputs(arrays, profile, stream);
  auto shapes = context_.output_shapes();
  bind_outputs(results, shapes);
  if (shared_.graphs == GraphPolicy::required) require_capturable();
  QueuedRun run(*this);
  const bool can_capture = uncapturable_output() == nullptr;
  const bool is_separate = shared_.separates_kernels && can_capture;
  bool queued = false;
  if (is_separate && is_known) {
    lock = context_.lock_compiling();  // no context compiles while another captures
    if (!graphs_.note(key_, shapes, &run, stream)) context_.forget_shapes();
    queued = replay(results, stream) || graphs_.launch_once(run, stream);
    if (graphs_.is_context_suspect()) return false;
  }
  if (!queued) queued = enqueue_in_order(stream);
  for (const auto& output : outputs_) {
    if (output.allocator() != nullptr) output.allocator()->rethrow();
  }
  if (!queued) throw Error(errors.explain("the inference was refused"));
  if (lock && shared_.is_new_size(profile, arrays)) {
    run_.is_compiled = true;
    run_.compile = RunClock::now() - start;
  }
  // Once more, now that there are kernels.
  if (is_separate && !is_known) std::ignore = graphs_.launch_once(run, stream);
  note_prepared(arrays, profile);
  note_memory();
  if (!is_separate || !is_known) {
    // Not while another context compiles; the next run of this size will do.
    if (shared_.compiles && !lock)
      lock = std::unique_lock(shared_.kernels->compiling, std::try_to_lock);
    auto* const capturable = can_capture && (lock || !shared_.compiles) ? &run : nullptr;
    if (!graphs_.note(key_, std::move(shapes), capturable, stream)) context_.forget_shapes();
  }
  run_.is_captured = graphs_.find(key_) != nullptr;
  return true;
}

// Whether the run compiles nothing, so that it need not wait for other contexts that do. The values
// of shape tensors are sizes, too.
bool Session::is_prepared(std::span<const InputArray> arrays, std::size_t profile) const {
  return !context_.is_missing() && !context_.is_worn() && !graphs_.is_context_suspect() &&
         !prepared_.empty() && prepared_.contains(size_key(profile, arrays));
}

void Session::note_prepared(std::span<const InputArray> arrays, std::size_t profile) {
  if (!shared_.compiles) return;
  if (std::ranges::any_of(shared_.inputs, &IoTensor::on_host)) {
    shared_.kernels->has_news = true;  // for other values, perhaps
    return;
  }
  prepared_.insert(size_key(profile, arrays));
}

bool Session::enqueue_in_order(cuda::StreamRef stream) {
  if (stream.handle() != nullptr) return context_.enqueue(stream);
  // In the legacy default stream TensorRT would wait for the GPU at every call.
  done_.record(stream);
  stream_.wait(done_);
  const bool queued = context_.enqueue(stream_);
  done_.record(stream_);
  stream.wait(done_);
  return queued;
}

// An output that the host has a part in, which a replay would not repeat.
const IoTensor* Session::uncapturable_output() const noexcept {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (shared_.outputs[i].on_host || outputs_[i].allocator() != nullptr)
      return &shared_.outputs[i];
  }
  return nullptr;
}

void Session::require_capturable() const {
  if (const auto* const output = uncapturable_output()) {
    throw Error("cuda_graph=True, but this model cannot be captured in a CUDA graph: " +
                output->name + " is a shape tensor, or its shape depends on the data");
  }
}

}  // namespace fasttrt::engine
