"""What is wrong with a graph that TensorRT's parser refuses without saying where."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fasttrt._nodes import graphs_of, subgraphs, with_inner
from fasttrt.errors import ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt.model import OnnxModel


def graph_problems(model: "OnnxModel") -> "Iterator[ParseIssue]":
    """Find what no model may have.

    Results that nothing gives or several nodes give, inputs that nothing gives, nodes that need
    their own results, no results at all.
    """
    graph = model.proto.graph
    if not graph.output:
        yield _of_model("the graph has no outputs: name them in graph.output")
    yield from _of_graph(model, graph, set())


def _of_graph(
    model: "OnnxModel", graph: "onnx.GraphProto", outer: set[str]
) -> "Iterator[ParseIssue]":
    givers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in filter(None, node.output):
            if name in givers:
                yield _of_node(model, node, f"gives {name}, which another node gives already")
            givers[name] = node
    sources = outer | {t.name for t in (*graph.initializer, *graph.input)}
    sources |= {t.values.name for t in graph.sparse_initializer}
    known = sources | givers.keys()
    for value in graph.output:
        if value.name not in known:
            yield _of_model(f"no node gives the output {value.name}")
    done = set(sources)
    waiting = list(graph.node)
    while waiting:
        ready = [node for node in waiting if _needs(node) <= done or not _needs(node) <= known]
        if not ready:
            names = ", ".join(node.name or node.output[0] for node in waiting[:5] if node.output)
            yield _of_node(model, waiting[0], f"is part of a cycle of nodes: {names}")
            break
        for node in ready:
            if missing := sorted(_needs(node) - known):
                text = f"no node, input or constant gives its input {', '.join(missing)}"
                yield _of_node(model, node, text)
            done.update(node.output)
        waiting = [node for node in waiting if not any(node is other for other in ready)]
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _of_graph(model, inner, known)


def _needs(node: "onnx.NodeProto") -> set[str]:
    """Give what a node takes from the graph that it is in, for the graphs within it too."""
    needed = set(filter(None, node.input))
    for inner in subgraphs(node):
        given = {t.name for g in graphs_of(inner) for t in (*g.initializer, *g.input)}
        nodes = list(with_inner(inner.node))
        given |= {name for n in nodes for name in n.output}
        used = {name for n in nodes for name in n.input if name}
        used |= {value.name for g in graphs_of(inner) for value in g.output}
        needed |= used - given
    return needed


def _of_node(model: "OnnxModel", node: "onnx.NodeProto", reason: str) -> ParseIssue:
    return ParseIssue(model.place_of(node), node.name, node.op_type, reason)


def _of_model(reason: str) -> ParseIssue:
    return ParseIssue(-1, "", "", reason)
