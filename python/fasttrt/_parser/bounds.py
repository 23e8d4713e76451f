"""Write Clip as Max and Min where TensorRT gets its bounds wrong.

In bfloat16 it uses 0 for an omitted bound: with a lower bound alone, all positive values became 0.
If the lower bound is above the upper one, ONNX returns the upper bound, TensorRT the lower one.
Measured with TensorRT-RTX 1.6.1.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, input_name

if TYPE_CHECKING:
    import onnx

_INPUTS_SINCE = 11
"""The opset since which bounds are inputs, and may be bfloat16."""


def _clip(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    from onnx import TensorProto

    kind = facts.dtype(node.input[0])
    if facts.opset < _INPUTS_SINCE or kind in (TensorProto.INT8, TensorProto.UINT8):
        return None  # TensorRT has no Max and Min for these either
    x, low, high = node.input[0], input_name(node, 1), input_name(node, 2)
    if low and high:
        minimum, maximum = facts.constant(low), facts.constant(high)
        if minimum is not None and maximum is not None and (minimum <= maximum).all():
            return None
    elif kind not in (TensorProto.BFLOAT16, TensorProto.UNDEFINED):
        return None  # TensorRT then uses the limits of the type, as ONNX does
    chain = NodeChain(node, facts)
    if not low and not high:
        return chain.finish("Identity", x)
    if not high:
        return chain.finish("Max", x, low)
    return chain.finish("Min", chain.add("Max", x, low) if low else x, high)


RULES: dict[str, Rule] = {"Clip": _clip}
