// Dynamic batching: calls that come at the same time share one run.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/array.hpp"
#include "engine/batching.hpp"
#include "engine/host_buffer.hpp"
#include "engine/io_tensor.hpp"
#include "engine/shared_run.hpp"

namespace fasttrt::engine {

// Gathers calls along dimension 0. It has no threads of its own: the first call opens a batch and
// leads it; calls with the same sizes beyond dimension 0 join until it runs; each copies its own
// rows in and its own results out. Several batches may be open or under way at once, and one that
// waits for a session goes on filling up.
//
// Memory: a batch that a second call joined holds a block for each input of the largest size, until
// it has run, and then the results of the whole batch until the last call has copied its own. There
// are never more batches than threads inside infer(). A call that nobody joined and that needs no
// padding runs in its own arrays and holds nothing.
class Batcher {
 public:
  // Waits for a free session, calls `work` with its Run on this thread, gives the session back.
  // Throws what work throws, or Error if there is no session to be had (a closed engine).
  using WithSession = std::function<void(const std::function<void(const Run&)>& work)>;

  // The engine's lists outlive the batcher. Blocks are from the pool; null: ordinary memory, as on
  // a machine without a GPU. Throws InputError for options that contradict themselves or an engine
  // that cannot be batched, naming the tensor.
  Batcher(std::span<const IoTensor> inputs, std::span<const IoTensor> outputs,
          std::shared_ptr<PinnedPool> pool, WithSession with_session, BatchingOptions options);
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Whether such a call may share a run: all in host memory, max_size samples at most, as many in
  // every input. Others are for the caller to run alone.
  [[nodiscard]] bool accepts(std::span<const InputArray> inputs,
                             std::span<const OutputArray> outputs) const noexcept;

  // Returns once the results are there; from any thread. Only for what accepts() takes and the
  // profiles too, see choose_profile(). If a shared run fails then each of its calls runs again
  // alone, so that only those at fault fail: throws what Run or WithSession threw for this call
  // alone, InputError for a target of the wrong shape, OutOfMemoryError, and Error for a result
  // whose dimension 0 is not that of the samples.
  void infer(std::span<const InputArray> inputs, std::span<OutputArray> outputs);

  // From now on no batch waits for calls to join, for an engine that is about to be closed.
  void stop_waiting() noexcept;

 private:
  struct Batch;

  [[nodiscard]] std::shared_ptr<Batch> join(BatchMember& member);
  void lead(Batch& batch);
  void follow(Batch& batch, const BatchMember& member);
  void close(Batch& batch) noexcept;
  void run_batch(Batch& batch, const Run& run) const;
  void run_alone(const BatchMember& member) const;

  BatchTensors tensors_;
  WithSession with_session_;
  BatchingOptions options_;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Batch>> open_;  // those that can be joined
  bool is_flushing_ = false;
};

}  // namespace fasttrt::engine
