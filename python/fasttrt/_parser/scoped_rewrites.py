"""Rewrite nodes by what computes their inputs, which a search looks up in their scope."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, replace_at, subgraphs
from fasttrt._parser.node_rules import separator_node
from fasttrt._parser.scope import Scope

if TYPE_CHECKING:
    import onnx

Match = TypeVar("Match")
Find: TypeAlias = "Callable[[onnx.NodeProto, Scope, TensorInfo], Match | None]"
"""Returns what a rewrite needs to know of a node of ONNX's domain; None to keep the node."""
Write: TypeAlias = "Callable[[onnx.NodeProto, Match, TensorInfo], list[onnx.NodeProto]]"
"""Returns the nodes to write instead of one that was found."""


def rewrite_found(
    model: OnnxModel, find: "Find[Match]", write: "Write[Match]", change: str
) -> OnnxModel:
    """Rewrite the nodes that a search finds in a model and its subgraphs.

    All are found before the first is rewritten. Return the model itself if there is none.

    Args:
        model: the model, its local functions inlined. It is not modified.
        find: finds a node by what computes its inputs.
        write: may modify the node, as it is one of a copy.
        change: what is recorded of a rewritten node after its name.
    """
    facts = TensorInfo(model)
    if next(_found(model.skeleton.graph, Scope(), find, facts), None) is None:
        return model
    proto = model.copy_skeleton()
    places = list(_found(proto.graph, Scope(), find, facts))
    nodes = [graph.node[place] for graph, place, _ in places]
    lines = [f"{node.name or node.output[0]}: {change}" for node in nodes]
    for graph, place, match in reversed(places):  # inner graphs come first
        replace_at(graph.node, place, write(graph.node[place], match, facts))
    return model.changed(proto, lines)


def separate(node: "onnx.NodeProto", names: list[str], facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Return a node with a LeakyRelu that changes no value before each of these inputs."""
    steps = {name: separator_node(name, facts) for name in names}
    for place, name in enumerate(node.input):
        if name in steps:
            node.input[place] = steps[name].output[0]
    return [*steps.values(), node]


def _found(
    graph: "onnx.GraphProto", outer: Scope, find: "Find[Match]", facts: TensorInfo
) -> "Iterator[tuple[onnx.GraphProto, int, Match]]":
    """Yield the nodes to rewrite, by graph and place, those of subgraphs last."""
    scope = outer.within(graph)
    for place, node in enumerate(graph.node):
        match = find(node, scope, facts) if node.domain in ONNX_DOMAINS else None
        if match is not None:
            yield graph, place, match
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _found(inner, scope, find, facts)
