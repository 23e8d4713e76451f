"""Walking over an ONNX graph and the graphs within its nodes (the branches of an If, say)."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

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


def all_graphs(model: "onnx.ModelProto") -> "list[onnx.GraphProto]":
    """A model's graph, and those within all nodes, of its functions too."""
    return [model.graph, *(inner for node in all_nodes(model) for inner in subgraphs(node))]
