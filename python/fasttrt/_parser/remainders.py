"""Compute remainders of floats (Mod with ``fmod=1``) by long division, whose steps are exact.

TensorRT's ``x - y * trunc(x / y)`` rounds the product: with a quotient of 10,000 it is off by 6e-4
of y.
"""

from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute

if TYPE_CHECKING:
    import onnx

_BITS = 24
"""The bits of the quotient. float32 does not tell larger ones from their neighbours."""


def _mod(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    from onnx import TensorProto

    kind = facts.dtype(node.input[0])
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if not attribute(node, "fmod", 0) or kind not in floats or facts.opset < 12:
        return None
    chain = NodeChain(node, facts)
    x, y = (
        name if kind == TensorProto.FLOAT else chain.add("Cast", name, to=TensorProto.FLOAT)
        for name in node.input
    )
    size, step = chain.add("Abs", x), chain.add("Abs", y)
    rest = size
    for bit in reversed(range(_BITS)):
        part = chain.add("Mul", step, chain.constant(2.0**bit, np.float32))
        fits = chain.add("GreaterOrEqual", rest, part)
        rest = chain.add("Where", fits, chain.add("Sub", rest, part), rest)
    quotient = chain.add("Floor", chain.add("Div", size, step))
    rounded = chain.add("Sub", size, chain.add("Mul", step, quotient))
    is_large = chain.add("GreaterOrEqual", rest, step)  # or y is 0, and this is NaN
    rest = chain.add("Where", is_large, rounded, rest)
    is_negative = chain.add("Less", x, chain.constant(0, np.float32))
    signed = chain.add("Where", is_negative, chain.add("Neg", rest), rest)
    found = chain.add("Add", signed, chain.add("Sub", x, x))  # an infinite x has no remainder
    return chain.finish("Cast", chain.add("Where", chain.add("IsNaN", y), y, found), to=kind)


RULES: dict[str, Rule] = {"Mod": _mod}
