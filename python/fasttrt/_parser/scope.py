"""Track which tensors a graph can read: the nodes that make them, and which are constant."""

from typing import TYPE_CHECKING

from fasttrt._graph.traversal import subgraphs

if TYPE_CHECKING:
    import onnx


class Scope:
    """The tensors of a graph and of those around it."""

    def __init__(self) -> None:
        self.makers: dict[str, onnx.NodeProto] = {}
        """The node that computes each tensor."""
        self.constants: set[str] = set()
        """Initializers, and what is computed from nothing else."""

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
