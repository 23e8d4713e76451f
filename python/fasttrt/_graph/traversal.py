"""Traverse ONNX graphs and their subgraphs, such as the branches of an If."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


ONNX_DOMAINS = ("", "ai.onnx")
"""The two names of the domain of ONNX's own operators."""


def subgraphs(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """Yield a node's own subgraphs, without those nested in them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def with_inner(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """Yield nodes, each followed by those of its subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from with_inner(graph.node)


def all_nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Yield all nodes of a model, its functions' included."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from with_inner(nodes)


def graphs_of(graph: "onnx.GraphProto") -> "list[onnx.GraphProto]":
    """List a graph and its subgraphs, nested ones included."""
    return [graph, *(inner for node in with_inner(graph.node) for inner in subgraphs(node))]


def innermost_first(graph: "onnx.GraphProto") -> "list[onnx.GraphProto]":
    """List a graph and its subgraphs, each after those nested in it.

    Replacing the nodes of a graph copies them, so their subgraphs must be changed first.
    """
    return graphs_of(graph)[::-1]


def all_graphs(model: "onnx.ModelProto") -> "list[onnx.GraphProto]":
    """List a model's graph and all subgraphs, those in functions included."""
    return [model.graph, *(inner for node in all_nodes(model) for inner in subgraphs(node))]


def has_graph(node: "onnx.NodeProto") -> bool:
    """Return whether a node has subgraphs, as If, Loop and Scan have."""
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def declared_types(graph: "onnx.GraphProto") -> Iterator[tuple[str, int]]:
    """Yield the element type of each value that a graph declares; 0 if it is not a tensor."""
    for value in (*graph.value_info, *graph.input, *graph.output):
        yield value.name, value.type.tensor_type.elem_type


def all_names(graph: "onnx.GraphProto") -> Iterator[str]:
    """Yield all names in use, of tensors and nodes, in subgraphs too."""
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
    """Replace the content of a repeated protobuf field."""
    del field_[:]
    field_.extend(messages)


def replace_at(nodes: Any, index: int, steps: "Sequence[onnx.NodeProto]") -> None:
    """Replace a node of a graph by others, in their order."""
    del nodes[index]
    for step in reversed(steps):
        nodes.insert(index, step)
