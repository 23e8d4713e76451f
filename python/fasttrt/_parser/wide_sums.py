"""Compute sums of powers of 16-bit floats, which overflow, in float32.

TensorRT has some of these operators in no 16-bit type, or only in float16, where the square of 256
is infinite.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser import arithmetic, pooling
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, copy_node

if TYPE_CHECKING:
    import onnx


def _in_float32(rule: "Rule | None") -> Rule:
    """Return a rule that applies another one, if any, to a node between two casts."""

    def write(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
        from onnx import TensorProto

        x = node.input[0]
        kind = facts.dtype(x)
        if kind not in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            return rule(node, facts) if rule is not None else None
        chain = NodeChain(node, facts)
        wide = copy_node(node)
        wide.input[0] = chain.add("Cast", x, to=TensorProto.FLOAT)
        wide.name = wide.output[0] = facts.unused(f"{node.output[0]}_float32")
        facts.declare(wide.input[0], TensorProto.FLOAT, facts.shape(x))
        written = rule(wide, facts) if rule is not None else None
        if isinstance(written, str):
            return written
        chain.nodes += written or [wide]
        return chain.finish("Cast", wide.output[0], to=kind)

    return write


RULES: dict[str, Rule] = {
    "LpNormalization": _in_float32(None),
    "MeanVarianceNormalization": _in_float32(None),
    "LpPool": _in_float32(pooling.RULES["LpPool"]),
    "GlobalLpPool": _in_float32(arithmetic.RULES["GlobalLpPool"]),
    "ReduceLogSum": _in_float32(arithmetic.RULES["ReduceLogSum"]),
}
