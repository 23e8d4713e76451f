"""Track which tensors a graph can read: the nodes that make them, and which are constant."""

from collections.abc import Set
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.traversal import ONNX_DOMAINS, subgraphs

if TYPE_CHECKING:
    import onnx

_Ways: TypeAlias = tuple[frozenset[str], frozenset[str], frozenset[str]]
"""The operators that are looked for, those that are passed, and those that are combined."""


class Scope:
    """The tensors of a graph and of those around it."""

    def __init__(self) -> None:
        self.makers: dict[str, onnx.NodeProto] = {}
        """The node that computes each tensor."""
        self.constants: set[str] = set()
        """Initializers, and what is computed from nothing else."""
        self._origins: dict[_Ways, dict[str, onnx.NodeProto | None]] = {}

    def within(self, graph: "onnx.GraphProto") -> "Scope":
        """Return the scope of a graph within this one."""
        scope = Scope()
        scope.makers = self.makers | {name: node for node in graph.node for name in node.output}
        scope.constants = self.constants | {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            follows = bool(node.input) and not any(subgraphs(node))
            if node.op_type == "Constant" or (follows and scope.constants.issuperset(node.input)):
                scope.constants.update(node.output)
        return scope

    def computed(self, node: "onnx.NodeProto") -> list[str]:
        """List the inputs of a node that are not constant."""
        return [name for name in node.input if name and name not in self.constants]

    def origin(
        self, name: str, operators: Set[str], passed: Set[str], combined: Set[str]
    ) -> "onnx.NodeProto | None":
        """Return the node of one of the operators that a tensor is the result of, or None.

        Args:
            name: the tensor.
            operators: types of ONNX's operators.
            passed: those that may follow, on the way of their first input that is not constant.
            combined: those that may follow if all but one of their inputs are constant.
        """
        ways = (frozenset(operators), frozenset(passed), frozenset(combined))
        known = self._origins.setdefault(ways, {})  # so that long chains are walked once
        seen = []
        found = None
        while (node := self.makers.get(name)) is not None and node.domain in ONNX_DOMAINS:
            if name in known:
                found = known[name]
                break
            seen.append(name)
            if node.op_type in operators:
                found = node
                break
            computed = self.computed(node)
            follows = node.op_type in combined and len(computed) == 1
            if not computed or not (follows or node.op_type in passed):
                break
            name = computed[0]
        known.update(dict.fromkeys(seen, found))
        return found
