// CUDA graphs: work captured from a stream once, then launched again and again in one call.
#pragma once

#include <memory>

#include "cuda/device.hpp"
#include "cuda/owned.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {

// Owns captured work.
class Graph : public Owned<HandleRef<CUgraph_st*>, &DriverApi::graph_destroy> {
 public:
  using Owned::Owned;

  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
};

// Owns work ready for launch. It keeps its own copy of the graph, but not the memory that the
// work uses: the addresses are those of the capture.
class GraphExec : public Owned<HandleRef<CUgraphExec_st*>, &DriverApi::graph_exec_destroy> {
 public:
  GraphExec() noexcept = default;
  // Throws CudaError or OutOfMemoryError.
  explicit GraphExec(const Graph& graph);

  // Queues the work; needs a current context. Launches of one GraphExec run one after another,
  // and only one thread may launch it at a time.
  void launch(StreamRef stream) const;

  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
};

// Captures what this thread queues in a stream, without running it, until end(). Calls that cannot
// be captured (allocation, synchronisation) fail on this thread meanwhile; other threads are free
// to make them. Begin, end and destroy it on one thread.
class StreamCapture {
 public:
  // Not the legacy default stream, which cannot be captured.
  StreamCapture(std::shared_ptr<PrimaryContext> context, StreamRef stream);
  // Discards a capture left open, so that the stream is usable again after an exception.
  ~StreamCapture();
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;

  // Every node of the graph waits for the end of those before it, also where the kernels were
  // queued to begin earlier (programmatic dependent launch): TensorRT-RTX 1.6.1 has kernels that
  // then read what is not written yet. Throws CudaError if a call in between could not be captured,
  // or if the capture has ended.
  [[nodiscard]] Graph end();

 private:
  std::shared_ptr<PrimaryContext> context_;
  StreamRef stream_;
  bool open_ = false;
};

}  // namespace fasttrt::cuda
