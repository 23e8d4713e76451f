"""Build a chain of nodes that replaces a single one."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import constant_node

if TYPE_CHECKING:
    import onnx


class NodeChain:
    """Collect the nodes that replace a node; new tensors get names that are not in use.

    The last node keeps the name of the one that is replaced, so that messages refer to it.
    """

    def __init__(self, node: "onnx.NodeProto", facts: TensorInfo) -> None:
        self._node = node
        self._facts = facts
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Add a constant; return its name."""
        name = self._facts.unused(f"{self._node.output[0]}_constant")
        self.nodes.append(constant_node(name, value, dtype=dtype))
        return name

    def add(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output; return its name: ``output``, or a new one."""
        output = output or self._facts.unused(f"{self._node.output[0]}_{op_type}")
        self._append(op_type, inputs, output, output, attributes)
        return output

    def finish(self, op_type: str, *inputs: str, **attributes: Any) -> "list[onnx.NodeProto]":
        """Add the node that computes the replaced node's first output; return all nodes."""
        output = self._node.output[0]
        self._append(op_type, inputs, output, self._node.name, attributes)
        return self.nodes

    def _append(
        self, op_type: str, inputs: tuple[str, ...], output: str, name: str, given: dict[str, Any]
    ) -> None:
        from onnx import helper

        attributes = {key: value for key, value in given.items() if value is not None}
        self.nodes.append(helper.make_node(op_type, inputs, [output], name, **attributes))
