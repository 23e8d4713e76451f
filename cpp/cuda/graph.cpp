#include "cuda/graph.hpp"

#include <utility>

#include "common/error.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {

GraphExec::GraphExec(const Graph& graph) : Owned(graph.context(), nullptr) {
  if (!graph) {
    throw CudaError("an empty Graph cannot be instantiated",
                    static_cast<int>(Result::invalid_value), "GraphExec");
  }
  const ContextGuard guard(*context());
  check(driver().graph_instantiate(&handle_, graph.handle(), 0), "cuGraphInstantiateWithFlags");
}

void GraphExec::launch(StreamRef stream) const {
  check(driver().graph_launch(handle_, stream.handle()), "cuGraphLaunch");
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
