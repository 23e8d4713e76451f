// CUDA graphs: work recorded from a stream once, then launched again and again in one call.
#pragma once

#include <memory>

#include "cuda/device.hpp"
#include "cuda/stream.hpp"

namespace fasttrt::cuda {

// Owns recorded work.
class Graph {
 public:
  Graph() noexcept = default;
  // Takes ownership of the handle.
  Graph(std::shared_ptr<PrimaryContext> context, CUgraph_st* graph) noexcept;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return graph_ != nullptr; }
  [[nodiscard]] CUgraph_st* handle() const noexcept { return graph_; }
  [[nodiscard]] const std::shared_ptr<PrimaryContext>& context() const noexcept { return context_; }

 private:
  void reset() noexcept;

  std::shared_ptr<PrimaryContext> context_;
  CUgraph_st* graph_ = nullptr;
};

// Owns work ready for launch. It keeps its own copy of the graph, but not the memory that the
// work uses: the addresses are those of the recording.
class GraphExec {
 public:
  GraphExec() noexcept = default;
  // Throws CudaError or OutOfMemoryError.
  explicit GraphExec(const Graph& graph);
  ~GraphExec();
  GraphExec(GraphExec&& other) noexcept;
  GraphExec& operator=(GraphExec&& other) noexcept;

  // Queues the work; needs a current context. Launches of one GraphExec run one after another,
  // and only one thread may launch it at a time.
  void launch(StreamRef stream) const;

  [[nodiscard]] explicit operator bool() const noexcept { return exec_ != nullptr; }
  [[nodiscard]] CUgraphExec_st* handle() const noexcept { return exec_; }

 private:
  void reset() noexcept;

  std::shared_ptr<PrimaryContext> context_;
  CUgraphExec_st* exec_ = nullptr;
};

// Records what this thread queues in a stream, without running it, until end(). Calls that cannot
// be recorded (allocation, synchronisation) fail on this thread meanwhile; other threads are free
// to make them. Begin, end and destroy it on one thread.
class StreamCapture {
 public:
  // Not the legacy default stream, which cannot be captured.
  StreamCapture(std::shared_ptr<PrimaryContext> context, StreamRef stream);
  // Discards a capture left open, so that the stream is usable again after an exception.
  ~StreamCapture();
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;

  // Throws CudaError if a call in between could not be recorded, or if the capture has ended.
  [[nodiscard]] Graph end();

 private:
  std::shared_ptr<PrimaryContext> context_;
  StreamRef stream_;
  bool open_ = false;
};

}  // namespace fasttrt::cuda
