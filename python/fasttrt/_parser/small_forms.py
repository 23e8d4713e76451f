"""Rewrite single operators that TensorRT's parser refuses, see `other_forms`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import (
    Replacement,
    attribute,
    constant_node,
    copy_node,
    input_name,
)

if TYPE_CHECKING:
    import onnx

_BOOL, _INT32 = 9, 6  # TensorProto.DataType
_FLOATS = (1, 10, 11, 16)


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> "onnx.NodeProto":
    from onnx import helper

    return helper.make_node(operator, inputs, [output], f"{output}/{operator}", **attributes)


def floored_remainder(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite Mod of floats, with the divisor's sign, as ``a - floor(a / b) * b``."""
    dtype = facts.dtype(node.input[0])
    if attribute(node, "fmod", 0) or dtype not in _FLOATS:
        return None
    (a, b), y = node.input, node.output[0]
    names = [facts.unused(f"{y}/{what}") for what in ("quotient", "floor", "multiple")]
    return [
        _node("Div", [a, b], names[0]),
        _node("Floor", [names[0]], names[1]),
        _node("Mul", [names[1], b], names[2]),
        _node("Sub", [a, names[2]], y),
    ]


def reduce_booleans(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite ReduceMax and ReduceMin of booleans with integers."""
    if facts.dtype(node.input[0]) != _BOOL:
        return None
    numbers, result = (facts.unused(f"{node.output[0]}/{what}") for what in ("cast", "number"))
    inner = copy_node(node)
    inner.input[0], inner.output[0] = numbers, result
    return [
        _node("Cast", [node.input[0]], numbers, to=_INT32),
        inner,
        _node("Cast", [result], node.output[0], to=_BOOL),
    ]


def compress(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite Compress with a constant condition as a Gather."""
    condition = facts.constant(node.input[1])
    if condition is None:
        return None
    axis = attribute(node, "axis", None)
    indices = facts.unused(f"{node.output[0]}/indices")
    steps = [constant_node(indices, np.flatnonzero(condition))]
    tensor = node.input[0]
    if axis is None:
        shape, flat = (facts.unused(f"{node.output[0]}/{what}") for what in ("shape", "flat"))
        steps += [constant_node(shape, [-1]), _node("Reshape", [tensor, shape], flat)]
        tensor, axis = flat, 0
    return [*steps, _node("Gather", [tensor, indices], node.output[0], axis=axis)]


def centered_crop(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite CenterCropPad with known shapes as a Slice and a Pad."""
    shape, target = facts.shape(node.input[0]), facts.constant(input_name(node, 1))
    if shape is None or target is None:
        return None
    axes = [a % len(shape) for a in attribute(node, "axes", range(len(shape)))]
    sizes = [shape[axis] for axis in axes]
    if None in sizes:
        return None
    starts, ends, pads = [], [], [0] * (2 * len(shape))
    for axis, old, size in zip(axes, sizes, target.tolist(), strict=True):
        assert old is not None
        start = max(old - size, 0) // 2
        starts.append(start)
        ends.append(start + min(old, size))
        before = max(size - old, 0) // 2
        pads[axis], pads[axis + len(shape)] = before, max(size - old, 0) - before
    names = {
        what: facts.unused(f"{node.output[0]}/{what}")
        for what in ("starts", "ends", "axes", "cropped", "pads")
    }
    return [
        constant_node(names["starts"], starts),
        constant_node(names["ends"], ends),
        constant_node(names["axes"], axes),
        _node(
            "Slice",
            [node.input[0], names["starts"], names["ends"], names["axes"]],
            names["cropped"],
        ),
        constant_node(names["pads"], pads),
        _node("Pad", [names["cropped"], names["pads"]], node.output[0]),
    ]
