"""Rewrite arithmetic whose results in TensorRT differ from those that ONNX defines."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute, input_name

if TYPE_CHECKING:
    import onnx

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_INTEGERS = ("INT32", "INT64")


def _type(facts: TensorInfo, name: str) -> tuple[str, Any]:
    """Return a tensor's type as its ONNX name and its dtype; ``("", None)`` if it is unknown."""
    from onnx import TensorProto, helper

    kind = facts.dtype(name)
    if kind == 0:
        return "", None
    return TensorProto.DataType.Name(kind), helper.tensor_dtype_to_np_dtype(kind)


def _mean(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Divide the sum by the number of inputs in their own type.

    TensorRT multiplies by a float32 factor whatever the type: float16 results were off by 0.85.
    """
    chain = NodeChain(node, facts)
    count = len(node.input)
    if count == 1:
        return chain.finish("Identity", node.input[0])
    total = chain.add("Sum", *node.input)
    _, dtype = _type(facts, node.input[0])
    if dtype is None and facts.opset < 15:  # no CastLike
        return "the type of its inputs must be known"
    if dtype is None:
        divisor = chain.add("CastLike", chain.constant(count, np.float32), total)
    else:
        divisor = chain.constant(count, dtype)
    return chain.finish("Div", total, divisor)


class _Reductions:
    """Write reductions over a node's axes, each operator in its form in the model's opset."""

    def __init__(self, node: "onnx.NodeProto", facts: TensorInfo, chain: NodeChain) -> None:
        self._chain = chain
        self._opset = facts.opset
        self._noop = attribute(node, "noop_with_empty_axes", None)
        self._axes = attribute(node, "axes", None)
        self._input = input_name(node, 1)

    def add(self, operator: str, tensor: str, keepdims: int) -> str:
        attributes: dict[str, Any] = {"keepdims": keepdims, "noop_with_empty_axes": self._noop}
        if self._input:
            return self._chain.add(operator, tensor, self._input, **attributes)
        if operator == "ReduceSum" and self._opset >= 13:
            inputs = (self._chain.constant(self._axes),) if self._axes else ()
            return self._chain.add(operator, tensor, *inputs, **attributes)
        return self._chain.add(operator, tensor, axes=self._axes, **attributes)


def _log_sum_exp(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Subtract the maximum first, since TensorRT's Exp overflows at 89 (at 12 in float16).

    An infinite maximum is clamped before: infinity minus infinity would be NaN.
    """
    name, dtype = _type(facts, node.input[0])
    if name in _INTEGERS:
        return "its input is of integers, whose exponentials overflow; cast it to float32 before"
    if name not in _FLOATS or facts.opset < 8:
        return None
    keep = attribute(node, "keepdims", 1)
    chain = NodeChain(node, facts)
    reductions = _Reductions(node, facts, chain)
    greatest = _bounded(chain, reductions.add("ReduceMax", node.input[0], 1), dtype)
    powers = chain.add("Exp", chain.add("Sub", node.input[0], greatest))
    log = chain.add("Log", reductions.add("ReduceSum", powers, keep))
    squeezed = greatest if keep else reductions.add("ReduceMax", greatest, 0)
    return chain.finish("Add", log, squeezed)


def _reduced_mean(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Sum integers in their own type, not in floating point, and float16 in float32."""
    from onnx import TensorProto

    name, _ = _type(facts, node.input[0])
    if name not in ("FLOAT16", *_INTEGERS):
        return None
    chain = NodeChain(node, facts)
    reductions = _Reductions(node, facts, chain)
    x, kind = node.input[0], facts.dtype(node.input[0])
    keep = attribute(node, "keepdims", 1)
    if name == "FLOAT16":
        mean = reductions.add("ReduceMean", chain.add("Cast", x, to=TensorProto.FLOAT), keep)
        return chain.finish("Cast", mean, to=kind)
    total = reductions.add("ReduceSum", x, keep)
    count = chain.add("Div", chain.add("Size", x), chain.add("Size", total))
    return chain.finish("Div", total, chain.add("Cast", count, to=kind))


def _leaky_relu(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write a slope of 0 as a Where: TensorRT also multiplies positive infinity by it."""
    _, dtype = _type(facts, node.input[0])
    if attribute(node, "alpha", 0.01) != 0 or dtype is None or facts.opset < 9:
        return None
    chain, x = NodeChain(node, facts), node.input[0]
    zero = chain.constant(0, dtype)
    return chain.finish("Where", chain.add("Greater", x, zero), x, chain.add("Mul", x, zero))


def _shrink(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Compute integers in their own type if the bias is whole: TensorRT uses float32."""
    name, dtype = _type(facts, node.input[0])
    bias, limit = attribute(node, "bias", 0.0), attribute(node, "lambd", 0.5)
    if name not in _INTEGERS or bias != int(bias) or limit < 0:
        return None
    chain, x = NodeChain(node, facts), node.input[0]
    zero, least, shift = (chain.constant(int(value), dtype) for value in (0, limit, bias))
    lower = chain.add("Less", x, chain.add("Neg", least))
    upper = chain.add("Greater", x, least)
    moved = chain.add("Where", lower, chain.add("Add", x, shift), zero)
    return chain.finish("Where", upper, chain.add("Sub", x, shift), moved)


def _swish(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write out Swish of a scalar, for which TensorRT returns a vector."""
    if facts.shape(node.input[0]) != []:
        return None
    chain, x = NodeChain(node, facts), node.input[0]
    _, dtype = _type(facts, x)
    if dtype is None:
        return None
    scaled = chain.add("Mul", x, chain.constant(attribute(node, "alpha", 1.0), dtype))
    return chain.finish("Mul", x, chain.add("Sigmoid", scaled))


def _log_softmax(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Subtract the log of the sum: TensorRT takes the log of Softmax, which underflows to 0."""
    name, dtype = _type(facts, node.input[0])
    shape = facts.shape(node.input[0])
    if name not in _FLOATS or shape is None or facts.opset < 8:
        return None
    rank = len(shape)
    if facts.opset < 13:  # over this axis and all after it
        first = attribute(node, "axis", 1)
        axes = list(range(first + rank if first < 0 else first, rank))
    else:
        axes = [attribute(node, "axis", -1)]
    chain = NodeChain(node, facts)
    if not axes:  # over no axes: of single values
        zero = chain.add("Sub", node.input[0], node.input[0])
        return chain.finish("Identity", zero)
    attributes: dict[str, Any] = {"axes": axes} if facts.opset < 18 else {}
    inputs = () if attributes else (chain.constant(axes),)
    greatest = chain.add("ReduceMax", node.input[0], *inputs, keepdims=1, **attributes)
    shifted = chain.add("Sub", node.input[0], _bounded(chain, greatest, dtype))
    powers = chain.add("Exp", shifted)
    if facts.opset < 13:
        total = chain.add("ReduceSum", powers, keepdims=1, axes=axes)
    else:
        total = chain.add("ReduceSum", powers, chain.constant(axes), keepdims=1)
    return chain.finish("Sub", shifted, chain.add("Log", total))


def _bounded(chain: NodeChain, tensor: str, dtype: Any) -> str:
    """Clamp infinities to the largest finite values of either sign."""
    import ml_dtypes

    limit = ml_dtypes.finfo(dtype).max  # type: ignore[no-untyped-call]
    upper, lower = chain.constant(limit, dtype), chain.constant(-limit, dtype)
    return chain.add("Max", chain.add("Min", tensor, upper), lower)


def _empty_reduction(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write a reduction over no axes as what remains without the sum.

    The parser returns its input unchanged.
    """
    if not attribute(node, "noop_with_empty_axes", 0) or attribute(node, "axes", None):
        return None
    axes = facts.constant(input_name(node, 1))
    if input_name(node, 1) and (axes is None or axes.size):
        return None
    chain, x = NodeChain(node, facts), node.input[0]
    if node.op_type == "ReduceSumSquare":
        return chain.finish("Mul", x, x)
    return chain.finish("Log" if node.op_type == "ReduceLogSum" else "Abs", x)


def _global_lp_pool(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Sum powers of absolute values: for an odd p, TensorRT keeps the signs."""
    shape, (_, dtype) = facts.shape(node.input[0]), _type(facts, node.input[0])
    if shape is None or dtype is None:
        return "the rank and type of its input must be known"
    p, axes = attribute(node, "p", 2), list(range(2, len(shape)))
    chain, x = NodeChain(node, facts), node.input[0]
    if p in (1, 2):
        attributes: dict[str, Any] = {"axes": axes} if facts.opset < 18 else {}
        inputs = () if attributes else (chain.constant(axes),)
        return chain.finish(f"ReduceL{p}", x, *inputs, keepdims=1, **attributes)
    powers = chain.add("Pow", chain.add("Abs", x), chain.constant(p, dtype))
    if facts.opset < 13:
        total = chain.add("ReduceSum", powers, keepdims=1, axes=axes)
    else:
        total = chain.add("ReduceSum", powers, chain.constant(axes), keepdims=1)
    return chain.finish("Pow", total, chain.constant(1 / p, dtype))


RULES: dict[str, Rule] = {
    "Mean": _mean,
    "ReduceLogSumExp": _log_sum_exp,
    "LogSoftmax": _log_softmax,
    "ReduceMean": _reduced_mean,
    "ReduceL1": _empty_reduction,
    "ReduceL2": _empty_reduction,
    "ReduceLogSum": _empty_reduction,
    "LeakyRelu": _leaky_relu,
    "Shrink": _shrink,
    "Swish": _swish,
    "ReduceSumSquare": _empty_reduction,
    "GlobalLpPool": _global_lp_pool,
}
