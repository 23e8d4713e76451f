#include "engine/session.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "common/nvtx.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

// TensorRT would queue the run into a graph of the caller's, which knows nothing of this session.
void refuse_capture(std::optional<cuda::StreamRef> stream) {
  if (stream && stream->handle() != nullptr && stream->is_capturing()) {
    throw InputError("stream: a run cannot become part of a CUDA graph that is being captured");
  }
}

std::int64_t number(const void* address) noexcept {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(address));
}

}  // namespace

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

Session::Session(SharedSessionState& shared, RuntimeConfigs configs)
    : shared_(shared),
      stream_(shared.device),
      done_(shared.device),
      waiter_(shared.device, shared.wait),
      graphs_(shared, stream_, waiter_),
      addresses_(shared.inputs.size()),
      context_(shared, std::move(configs)) {
  for (const auto& tensor : shared.inputs) {
    inputs_.emplace_back(shared.device, *shared.copies, tensor, shared.mapped_limit);
  }
  for (const auto& tensor : shared.outputs) {
    outputs_.emplace_back(shared.device, shared.pool, *shared.copies, tensor, shared.mapped_limit);
  }
}

Session::~Session() {
  if (is_pending_) synchronize_quietly(done_);
  shared_.memory.device -= memory_.device;
  shared_.memory.pinned -= memory_.pinned;
}

void Session::run(std::span<const InputArray> arrays, std::size_t profile,
                  std::span<OutputArray> results, std::optional<cuda::StreamRef> stream) {
  refuse_capture(stream);
  const nvinfer::ErrorScope errors;
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  const auto start = RunClock::now();
  run_ = {};
  if (!arrays.empty() && arrays[0].shape.rank() > 0) run_.rows = arrays[0].shape[0];
  try {
    wait_for_previous_run(arrays, queue);
    profile = stage(arrays, profile, results, queue);
    has_ahead_ = false;
    queue_run(arrays, profile, results, queue);
    if (stream && can_return_early(results)) {
      done_.record(queue);
      is_pending_ = true;
      run_.staging = RunClock::now() - start;
      record_ = run_;
      return;
    }
    const auto queued = RunClock::now();
    wait(queue);
    const auto waited = RunClock::now();
    complete(results);
    run_.staging = queued - start;
    run_.compute = waited - queued;
    run_.copy_out = RunClock::now() - waited;
    record_ = run_;
  } catch (...) {
    // Arrays lent to the GPU must not be given back while it may still read them.
    synchronize_quietly(queue);
    context_.forget_shapes();
    throw;
  }
}

void Session::queue_run(std::span<const InputArray> arrays, std::size_t profile,
                        std::span<OutputArray> results, cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.enqueue.c_str());
  run_.is_replay = replay(results, stream);
  if (!run_.is_replay) enqueue(arrays, profile, results, stream);
  for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].fetch(results[i], stream);
}

void Session::wait(cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.wait.c_str());
  waiter_.wait(stream);
  is_pending_ = false;
}

void Session::complete(std::span<OutputArray> results) {
  const nvtx::Range range(shared_.ranges.copy_out.c_str());
  for (std::size_t i = 0; i < results.size(); ++i) outputs_[i].complete(results[i]);
}

void Session::copy_ahead(std::size_t input, const std::byte* array, std::size_t begin,
                         std::size_t end, std::size_t capacity) {
  wait_for_previous_run({{{array, {}, Place::host}}}, stream_);
  has_ahead_ = true;
  std::ignore = placed([&] {
    return Placement{nullptr, inputs_[input].copy_ahead(array, begin, end, capacity, stream_)};
  });
}

bool Session::pad_ahead(std::size_t input, const std::byte* array, std::size_t end,
                        std::size_t capacity) {
  if (!inputs_[input].is_copied(capacity)) return false;
  wait_for_previous_run({{{array, {}, Place::host}}}, stream_);
  has_ahead_ = true;
  std::ignore = placed(
      [&] { return Placement{nullptr, inputs_[input].pad_ahead(array, end, capacity, stream_)}; });
  return true;
}

void Session::forget_ahead() noexcept {
  if (!std::exchange(has_ahead_, false)) return;
  synchronize_quietly(stream_);
  for (auto& input : inputs_) input.forget_ahead();
}

// Whether the host has no part in what is queued: nothing to copy, no memory of its own in use.
bool Session::can_return_early(std::span<const OutputArray> results) const {
  return std::ranges::all_of(
             results, [](const OutputArray& result) { return result.place == Place::device; }) &&
         !lends_inputs();
}

// Whether the GPU reads an array of the run at hand from the caller's page-locked memory.
bool Session::lends_inputs() const { return std::ranges::any_of(inputs_, &InputSlot::is_lent); }

void Session::wait_for_previous_run(std::span<const InputArray> arrays, cuda::StreamRef stream) {
  if (!is_pending_) return;
  const bool all_on_device = std::ranges::all_of(
      arrays, [](const InputArray& array) { return array.place == Place::device; });
  if (all_on_device) {
    stream.wait(done_);
  } else {
    done_.synchronize();  // it may still read what the new arrays will overwrite
    is_pending_ = false;
  }
}

// The address that a slot gives. Graphs that use memory which it replaced go, also where the
// replacing failed.
void* Session::placed(const auto& place) {
  try {
    const Placement placement = place();
    if (placement.moved) graphs_.clear();
    return placement.address;
  } catch (...) {
    graphs_.clear();
    throw;
  }
}

// Brings the inputs to where the engine reads them, and makes the key of the run: all that a
// graph of it depends on. Returns the profile: another one where values that were on the device
// want it.
std::size_t Session::stage(std::span<const InputArray> arrays, std::size_t profile,
                           std::span<const OutputArray> results, cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.staging.c_str());
  bool has_news = false;
  key_.assign(1, 0);  // the profile's place
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    addresses_[i] = placed([&] { return inputs_[i].stage(arrays[i], stream); });
    key_.push_back(number(addresses_[i]));
    key_.insert(key_.end(), arrays[i].shape.begin(), arrays[i].shape.end());
    if (shared_.inputs[i].on_host) {
      has_news = has_news || arrays[i].place == Place::device;
      for (const auto value : inputs_[i].values()) {
        key_.push_back(std::to_integer<std::int64_t>(value));
      }
    }
  }
  for (const auto& result : results) {
    key_.push_back(result.place == Place::device ? number(result.target) : -1);
  }
  if (has_news) profile = choose_profile(shared_.inputs, with_values(arrays));
  key_.front() = static_cast<std::int64_t>(profile);
  return profile;
}

// The arrays, those of shape tensors as staged: on the host.
std::vector<InputArray> Session::with_values(std::span<const InputArray> arrays) const {
  std::vector<InputArray> readable(arrays.begin(), arrays.end());
  for (std::size_t i = 0; i < readable.size(); ++i) {
    if (!shared_.inputs[i].on_host) continue;
    readable[i].data = addresses_[i];
    readable[i].place = Place::host;
  }
  return readable;
}

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

void Session::bind_outputs(std::span<OutputArray> results, std::span<const Dims> shapes) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& tensor = shared_.outputs[i];
    auto& slot = outputs_[i];
    if (tensor.on_host && !shapes[i].known()) {
      throw Error("TensorRT does not know the shape of the output " + tensor.name);
    }
    if (tensor.on_host || (shapes[i].known() && slot.allocator() == nullptr)) {
      slot.prepare(results[i], shapes[i]);
      context_.bind(tensor.name, placed([&] { return slot.place(results[i], shapes[i]); }));
      continue;
    }
    if (slot.allocator() == nullptr) graphs_.clear();  // see uncapturable_output()
    context_.bind(tensor.name, slot.use_allocator());
  }
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

void Session::warm_up(std::span<const InputArray> arrays, std::size_t profile) {
  constexpr int most = 3;  // the first run, one that is captured, and the graph's first launch
  RunRecord all;
  all.is_warmup = true;
  for (int i = 0; i < most; ++i) {
    std::vector<OutputArray> results(shared_.outputs.size());
    run(arrays, profile, results, std::nullopt);
    all.is_captured = all.is_captured || run_.is_captured;
    all.is_compiled = all.is_compiled || run_.is_compiled;
    all.compile += run_.compile;
    record_ = all;
    if (run_.is_replay || (i > 0 && !run_.is_captured)) return;
  }
}

// What the slots hold by now, which changes in no replay.
void Session::note_memory() noexcept {
  MemoryHeld now;
  for (const auto& input : inputs_) now += input.memory();
  for (const auto& output : outputs_) now += output.memory();
  now.device += context_.scratch_bytes();
  shared_.memory.device += now.device - memory_.device;  // modulo 2^64, as a difference may be
  shared_.memory.pinned += now.pinned - memory_.pinned;
  memory_ = now;
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

std::vector<Dims> Session::infer_shapes(std::span<const InputArray> arrays, std::size_t profile,
                                        std::optional<cuda::StreamRef> stream) {
  refuse_capture(stream);
  const cuda::StreamRef queue = stream.value_or(cuda::StreamRef(stream_));
  std::vector<Dims> shapes;
  try {
    wait_for_previous_run(arrays, queue);
    profile = stage(arrays, profile, {}, queue);
    const auto lock = context_.lock_compiling();
    set_inputs(arrays, profile, queue);
    shapes = context_.output_shapes();
    queue.synchronize();
  } catch (...) {
    synchronize_quietly(queue);
    context_.forget_shapes();
    throw;
  }
  return shapes;
}

}  // namespace fasttrt::engine
