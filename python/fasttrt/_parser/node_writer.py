"""Write several nodes for one, each named after it."""

from typing import TYPE_CHECKING, Any

from fasttrt._graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import onnx


class NodeWriter:
    """Nodes that are written for another one, in order."""

    def __init__(self, node: "onnx.NodeProto", facts: TensorInfo) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._prefix = node.name or node.output[0]
        self._facts = facts

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Write a node of one result and give that result's name, ``output`` or a new one."""
        from onnx import helper

        name = self._facts.unused(f"{self._prefix}/{operator}")
        node = helper.make_node(operator, inputs, [output or name], name, **attributes)
        self.nodes.append(node)
        return output or name

    def constant(self, value: Any, dtype: int) -> str:
        """Write a constant, a number or a list of them, of a type of ``TensorProto.DataType``."""
        from onnx import helper

        values = value if isinstance(value, list) else [value]
        dims = [len(values)] if isinstance(value, list) else []
        return self.add("Constant", value=helper.make_tensor("", dtype, dims, values))
