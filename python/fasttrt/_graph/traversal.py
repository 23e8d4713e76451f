"""Walking over an ONNX graph and the graphs within its nodes (the branches of an If, say)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


ONNX_DOMAINS = ("", "ai.onnx")
"""Of ONNX's own operators: two names for one."""


def subgraphs(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """The graphs that a node holds itself, not those within them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def with_inner(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """Nodes, each before those of the graphs within it."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from with_inner(graph.node)


def all_nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Of a model, its functions included."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from with_inner(nodes)


def graphs_of(graph: "onnx.GraphProto") -> "list[onnx.GraphProto]":
    """A graph and those within its nodes."""
    return [graph, *(inner for node in with_inner(graph.node) for inner in subgraphs(node))]


def innermost_first(graph: "onnx.GraphProto") -> "list[onnx.GraphProto]":
    """Give a graph and those within its nodes, each after those within it.

    To replace the nodes of a graph is to copy them, so what is within them has to be changed first.
    """
    return graphs_of(graph)[::-1]


def all_graphs(model: "onnx.ModelProto") -> "list[onnx.GraphProto]":
    """A model's graph, and those within all nodes, of its functions too."""
    return [model.graph, *(inner for node in all_nodes(model) for inner in subgraphs(node))]


def has_graph(node: "onnx.NodeProto") -> bool:
    """Whether a node has graphs within it, as If, Loop and Scan have."""
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def declared_types(graph: "onnx.GraphProto") -> Iterator[tuple[str, int]]:
    """The element type of each tensor that the graph declares; 0 for what is no tensor."""
    for value in (*graph.value_info, *graph.input, *graph.output):
        yield value.name, value.type.tensor_type.elem_type


def all_names(graph: "onnx.GraphProto") -> Iterator[str]:
    """All that a new name must differ from, inner graphs included; nodes' names too."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield node.name
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from all_names(inner)


def unused_name(name: str, taken: set[str]) -> str:
    """Make a name like this one that is not taken, and add it to those that are."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def replace_all(field_: Any, messages: Sequence[Any]) -> None:
    """New content for a repeated field of a protobuf message."""
    del field_[:]
    field_.extend(messages)
