"""Write powers of integers, which TensorRT computes in float32, as products.

The exponents of floats are cast to the type of the base, since TensorRT requires equal types.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, copy_node

if TYPE_CHECKING:
    import onnx

_BITS = 6
"""The bits of an exponent: only -1, 0 and 1 have a 64th power within int64."""


def _pow(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    from onnx import TensorProto, helper

    base, exponent = node.input
    kind, other = facts.dtype(base), facts.dtype(exponent)
    if kind not in (TensorProto.INT32, TensorProto.INT64):
        if kind == other or not kind or not other:
            return None
        chain = NodeChain(node, facts)
        cast = copy_node(node)
        cast.input[1] = chain.add("Cast", exponent, to=kind)
        return [*chain.nodes, cast]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    value = facts.constant(exponent)
    if value is not None and (np.isfinite(value) & (value == np.floor(value))).all():
        if value.size == 1 and value.item() >= 0:
            return _constant_power(node, facts, int(value.item()), list(value.shape), dtype)
        chain = NodeChain(node, facts)
        whole = copy_node(node)
        whole.input[1] = chain.constant(value, np.int64)
        return [*chain.nodes, *_power(whole, facts, kind, TensorProto.INT64, dtype)]
    if value is not None:
        return (
            "its base is of integers and its exponent not whole, which TensorRT computes in "
            "float32; cast the base to float32"
        )
    if other not in (TensorProto.INT32, TensorProto.INT64):
        return _power_by_floats(node, facts, kind, dtype)
    return _power(node, facts, kind, other, dtype)


def _constant_power(
    node: "onnx.NodeProto", facts: TensorInfo, exponent: int, shape: list[int], dtype: Any
) -> Replacement:
    """Square and multiply, by a constant exponent."""
    chain = NodeChain(node, facts)
    base, result = node.input[0], ""
    rest = min(exponent, 128 + exponent % 2)  # beyond 64 bits only the parity counts
    while rest:
        if rest % 2:
            result = chain.add("Mul", result, base) if result else base
        rest //= 2
        if rest:
            base = chain.add("Mul", base, base)
    # The exponent's axes contribute to the shape of the output.
    one = chain.constant(np.ones(shape), dtype)
    if not result:
        zero = chain.add("Sub", node.input[0], node.input[0])
        return chain.finish("Add", zero, one)
    return chain.finish("Mul", result, one) if shape else chain.finish("Identity", result)


def _power(
    node: "onnx.NodeProto", facts: TensorInfo, kind: int, other: int, dtype: Any
) -> "list[onnx.NodeProto]":
    """Square and multiply, by the bits of an exponent that is known only at run time."""
    chain = NodeChain(node, facts)
    base, exponent = node.input
    if other != kind:
        exponent = chain.add("Cast", exponent, to=kind)
    zero, one, two = (chain.constant(value, dtype) for value in (0, 1, 2))
    rest, result = chain.add("Abs", exponent), one
    power = base
    for _ in range(_BITS):
        half = chain.add("Div", rest, two)
        is_odd = chain.add("Greater", chain.add("Sub", rest, chain.add("Mul", half, two)), zero)
        result = chain.add("Where", is_odd, chain.add("Mul", result, power), result)
        power, rest = chain.add("Mul", power, power), half
    # From 64 on: right for -1, 0 and 1, and beyond int64 for all other bases.
    is_more = chain.add("Greater", rest, zero)
    result = chain.add("Where", is_more, chain.add("Mul", result, power), result)
    # With a negative exponent, powers of 1 and -1 stay, and those of other bases become 0.
    is_unit = chain.add("Equal", chain.add("Mul", base, base), one)
    inverse = chain.add("Where", is_unit, result, zero)
    return chain.finish("Where", chain.add("Less", exponent, zero), inverse, result)


def _power_by_floats(
    node: "onnx.NodeProto", facts: TensorInfo, kind: int, dtype: Any
) -> Replacement:
    """Use products where an exponent is whole, and TensorRT's Pow in float32 elsewhere."""
    from onnx import TensorProto

    chain = NodeChain(node, facts)
    base, exponent = node.input
    exponent = chain.add("Cast", exponent, to=TensorProto.FLOAT)
    floor = chain.add("Floor", exponent)
    product = copy_node(node)
    product.input[1] = chain.add("Cast", floor, to=TensorProto.INT64)
    product.output[0] = facts.unused(f"{node.output[0]}_product")
    chain.nodes += _power(product, facts, kind, TensorProto.INT64, dtype)
    wide = chain.add("Cast", base, to=TensorProto.FLOAT)
    power = chain.add("Cast", chain.add("Pow", wide, exponent), to=kind)
    is_whole = chain.add("Equal", floor, exponent)
    return chain.finish("Where", is_whole, product.output[0], power)


RULES: dict[str, Rule] = {"Pow": _pow}
