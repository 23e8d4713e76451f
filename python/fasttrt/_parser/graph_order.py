"""Sort nodes topologically, as ONNX requires it and most passes expect it."""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import graphs_of, replace_all, subgraphs
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target


def order_nodes(model: OnnxModel, target: "Target") -> OnnxModel:
    """Sort a model's nodes if they are out of order.

    Raises:
        ParseError: nodes form a cycle, a node reads an undefined tensor or redefines one, or an
            output of a graph is undefined. Names the nodes and tensors.
    """
    check = _Check(model)
    check.graph(model.skeleton.graph, [])
    if not check.problems and not check.is_sorted:
        proto = model.copy_skeleton()
        for graph in reversed(
            graphs_of(proto.graph)
        ):  # copies of nodes follow, so inner ones first
            try:
                replace_all(graph.node, _sorted(graph.node))
            except CycleError as error:
                cycle = [graph.node[index] for index in error.args[1]]
                check.refuse(cycle[0], "it is part of a cycle: " + " feeds ".join(
                    f"'{node.output[0]}' ({node.op_type})" for node in reversed(cycle)
                ))  # fmt: skip
                break
        else:
            return model.changed(proto, ["nodes are sorted topologically"])
    if check.problems:
        raise ParseError(f"{target.library} cannot build this model", tuple(check.problems))
    return model


class _Check:
    """Find nodes that are out of order, and tensors that are undefined or defined twice."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.problems: list[ParseIssue] = []
        self.is_sorted = True

    def refuse(self, node: "onnx.NodeProto", reason: str) -> None:
        place = self._model.place_of(node)
        self.problems.append(ParseIssue(place, node.name, node.op_type, reason))

    def graph(self, graph: "onnx.GraphProto", outer: "list[tuple[set[str], set[str]]]") -> None:
        """Check a graph; ``outer`` has the names that enclosing ones define so far, and in all."""
        defined = {*_constants(graph), *(value.name for value in graph.input)}
        makers: dict[str, onnx.NodeProto] = {}
        for node in graph.node:
            for name in filter(None, node.output):
                if name in defined or name in makers:
                    self.refuse(node, f"its output '{name}' is already defined")
                makers[name] = node
        scopes = [*outer, (defined, set(makers))]
        for node in graph.node:
            for name in node.input:
                self._use(name, scopes, node)
            for inner in subgraphs(node):
                self.graph(inner, scopes)
            defined.update(node.output)
        for value in graph.output:
            if not any(value.name in known or value.name in later for known, later in scopes):
                reason = f"no node computes the output '{value.name}' of the graph '{graph.name}'"
                self.problems.append(ParseIssue(-1, "", "", reason))

    def _use(
        self, name: str, scopes: "list[tuple[set[str], set[str]]]", node: "onnx.NodeProto"
    ) -> None:
        if not name or any(name in known for known, _ in scopes):
            return
        if any(name in later for _, later in scopes):
            self.is_sorted = False
        else:
            self.refuse(node, f"its input '{name}' is undefined")


def _constants(graph: "onnx.GraphProto") -> Iterator[str]:
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)


def _sorted(nodes: "Sequence[onnx.NodeProto]") -> "list[onnx.NodeProto]":
    """Return nodes in topological order.

    Raises:
        CycleError: with the indices of the nodes of a cycle.
    """
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waits = {
        index: {makers[name] for name in _needs(node) if name in makers}
        for index, node in enumerate(nodes)
    }
    return [nodes[index] for index in TopologicalSorter(waits).static_order()]


def _needs(node: "onnx.NodeProto") -> Iterator[str]:
    """Yield the names of a node's inputs, and of the outer tensors that its subgraphs read."""
    yield from filter(None, node.input)
    for graph in subgraphs(node):
        own = {*_constants(graph), *(value.name for value in graph.input)}
        own |= {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            yield from (name for name in _needs(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)
