#include "cuda/graph.hpp"

#include <cstddef>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "cuda/status.hpp"

namespace fasttrt::cuda {
namespace {

// Edges of a graph.
struct Edges {
  std::vector<CUgraphNode_st*> from;
  std::vector<CUgraphNode_st*> to;
  std::vector<GraphEdge> data;
};

Edges edges_of(CUgraph_st* graph) {
  std::size_t count = 0;
  const auto get = driver().graph_get_edges;
  check(get(graph, nullptr, nullptr, nullptr, &count), "cuGraphGetEdges_v2");
  Edges edges{std::vector<CUgraphNode_st*>(count), std::vector<CUgraphNode_st*>(count),
              std::vector<GraphEdge>(count)};
  if (count == 0) return edges;
  check(get(graph, edges.from.data(), edges.to.data(), edges.data.data(), &count),
        "cuGraphGetEdges_v2");
  return edges;
}

// Lets every node wait for the end of those before it.
void separate_nodes(CUgraph_st* graph) {
  const auto& api = driver();
  if (api.graph_get_edges == nullptr || api.graph_add_dependencies == nullptr ||
      api.graph_remove_dependencies == nullptr) {
    return;
  }
  const auto all = edges_of(graph);
  Edges early;
  for (std::size_t i = 0; i < all.data.size(); ++i) {
    const auto& edge = all.data[i];
    if (edge.from_port == 0 && edge.to_port == 0 && edge.type == 0) continue;
    early.from.push_back(all.from[i]);
    early.to.push_back(all.to[i]);
    early.data.push_back(edge);
  }
  const auto count = early.data.size();
  if (count == 0) return;
  check(api.graph_remove_dependencies(graph, early.from.data(), early.to.data(), early.data.data(),
                                      count),
        "cuGraphRemoveDependencies_v2");
  check(api.graph_add_dependencies(graph, early.from.data(), early.to.data(), nullptr, count),
        "cuGraphAddDependencies_v2");
}

}  // namespace

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
  separate_nodes(graph);
  return captured;
}

}  // namespace fasttrt::cuda
