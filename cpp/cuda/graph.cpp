#include "cuda/graph.hpp"

#include <utility>

#include "common/error.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {

Graph::Graph(std::shared_ptr<PrimaryContext> context, CUgraph_st* graph) noexcept
    : context_(std::move(context)), graph_(graph) {}

Graph::~Graph() { reset(); }

Graph::Graph(Graph&& other) noexcept
    : context_(std::move(other.context_)), graph_(std::exchange(other.graph_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  if (this != &other) {
    reset();
    context_ = std::move(other.context_);
    graph_ = std::exchange(other.graph_, nullptr);
  }
  return *this;
}

void Graph::reset() noexcept {
  if (graph_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().graph_destroy(graph_));
  graph_ = nullptr;
}

GraphExec::GraphExec(const Graph& graph) : context_(graph.context()) {
  if (!graph) {
    throw CudaError("an empty Graph cannot be instantiated",
                    static_cast<int>(Result::invalid_value), "GraphExec");
  }
  const ContextGuard guard(*context_);
  check(driver().graph_instantiate(&exec_, graph.handle(), 0), "cuGraphInstantiateWithFlags");
}

GraphExec::~GraphExec() { reset(); }

GraphExec::GraphExec(GraphExec&& other) noexcept
    : context_(std::move(other.context_)), exec_(std::exchange(other.exec_, nullptr)) {}

GraphExec& GraphExec::operator=(GraphExec&& other) noexcept {
  if (this != &other) {
    reset();
    context_ = std::move(other.context_);
    exec_ = std::exchange(other.exec_, nullptr);
  }
  return *this;
}

void GraphExec::launch(StreamRef stream) const {
  check(driver().graph_launch(exec_, stream.handle()), "cuGraphLaunch");
}

void GraphExec::reset() noexcept {
  if (exec_ == nullptr) return;
  const ContextGuard guard(*context_, std::nothrow);
  if (guard.active()) ignore(driver().graph_exec_destroy(exec_));
  exec_ = nullptr;
}

StreamCapture::StreamCapture(std::shared_ptr<PrimaryContext> context, StreamRef stream)
    : context_(std::move(context)), stream_(stream) {
  const ContextGuard guard(*context_);
  check(driver().stream_begin_capture(stream_.handle(), CaptureMode::thread_local_calls),
        "cuStreamBeginCapture_v2");
  open_ = true;
}

StreamCapture::~StreamCapture() {
  if (!open_) return;
  const ContextGuard guard(*context_, std::nothrow);
  CUgraph_st* graph = nullptr;
  if (guard.active()) ignore(driver().stream_end_capture(stream_.handle(), &graph));
  const Graph discarded(context_, graph);
}

Graph StreamCapture::end() {
  if (!open_) {
    throw CudaError("this capture has ended already", static_cast<int>(Result::invalid_value),
                    "StreamCapture::end");
  }
  const ContextGuard guard(*context_);
  CUgraph_st* graph = nullptr;
  // Whatever the driver answers, the stream no longer captures afterwards.
  open_ = false;
  const Result code = driver().stream_end_capture(stream_.handle(), &graph);
  Graph captured(context_, graph);
  check(code, "cuStreamEndCapture");
  return captured;
}

}  // namespace fasttrt::cuda
