"""Rewrite nodes for opset 17, or return why not: the rules of `quirks_v8` for TensorRT 8.6."""

from math import ceil
from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import (
    Replacement,
    Rule,
    attribute,
    constant_node,
    copy_node,
    input_name,
)

if TYPE_CHECKING:
    import onnx

_INT32_MAX = 2**31 - 1


def _constant(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write value_int and value_ints as a tensor: the parser reads floats, which are unset."""
    for name in ("value_int", "value_ints"):
        value = attribute(node, name, None)
        if value is not None:
            return [constant_node(node.output[0], value, node.name)]
    return None


def _empty_reduction(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Refuse a reduction over no axes, a no-op that TensorRT takes for one over all axes."""
    if not attribute(node, "noop_with_empty_axes", 0) or attribute(node, "axes", None):
        return None
    name = input_name(node, 1)
    axes = facts.constant(name)
    if name and (axes is None or axes.size > 0):
        return None
    return "noop_with_empty_axes=1 without axes would be taken for a reduction over all axes"


def _sum(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Drop an empty list of axes, which means all; the parser reads or refuses any other."""
    if problem := _empty_reduction(node, facts):
        return problem
    axes = facts.constant(input_name(node, 1))
    return [copy_node(node, inputs=1)] if axes is not None and axes.size == 0 else None


def _reduction(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write the axes, an input since opset 18, as the attribute that they were before."""
    if problem := _empty_reduction(node, facts):
        return problem
    if not input_name(node, 1):
        return None
    axes = facts.constant(node.input[1])
    if axes is None:
        return "its axes are not a constant within the model file, and would be ignored"
    values = axes.ravel().tolist() or None
    return [copy_node(node, inputs=1, noop_with_empty_axes=None, axes=values)]


def _shape(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write start and end, which opset 15 added, as a Slice."""
    from onnx import helper

    start, end = attribute(node, "start", 0), attribute(node, "end", None)
    if start == 0 and end is None:
        return None
    output = node.output[0]
    whole, first, last = (facts.unused(f"{output}_{part}") for part in ("whole", "start", "end"))
    shape = copy_node(node, start=None, end=None)
    shape.output[0] = whole
    cut = helper.make_node("Slice", [whole, first, last], [output], f"{node.name or output}_part")
    ends = [_INT32_MAX if end is None else end]
    return [constant_node(first, [start]), constant_node(last, ends), shape, cut]


def _split(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write out the sizes if the last part is smaller (opset 18): TensorRT makes all alike."""
    if not attribute(node, "num_outputs", 0) or input_name(node, 1):
        return None
    count = len(node.output)
    shape, axis = facts.shape(node.input[0]), attribute(node, "axis", 0)
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if size is None:
        return "the size of the split axis must be known, as there may be a remainder"
    part = ceil(size / count)
    last = size - part * (count - 1)
    if last < 0:
        return f"a size of {size} cannot be split into {count} parts of {part}"
    if part == last:
        return [copy_node(node, inputs=1)] if len(node.input) > 1 else None
    sizes = facts.unused(f"{node.output[0]}_sizes")
    older = copy_node(node, inputs=1, num_outputs=None)
    older.input.append(sizes)
    return [constant_node(sizes, [part] * (count - 1) + [last]), older]


def _grid_sample(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Write the mode's name before opset 20; the parser takes unknown ones for "nearest".

    With more than two spatial axes, TensorRT 8.6.0 terminated the process (on an H100).
    """
    shape = facts.shape(node.input[0])
    if shape is not None and len(shape) != 4:
        return f"its input has rank {len(shape)}; TensorRT 8.6 samples images (rank 4) only"
    mode = attribute(node, "mode", b"").decode()
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode)
    return [copy_node(node, mode=older)] if older is not None else None


def _resize(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Refuse attributes that opset 18 added, which TensorRT 8.6 ignores."""
    if attribute(node, "antialias", 0):
        return "antialias=1 would be ignored"
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch")
    if policy != b"stretch" and input_name(node, 3):
        return "keep_aspect_ratio_policy would be ignored"
    return "axes would be ignored" if attribute(node, "axes", []) else None


def _scatter(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Refuse reductions, which opset 16 added and TensorRT 8.6 ignores."""
    reduction = attribute(node, "reduction", b"none").decode()
    return None if reduction == "none" else f'reduction="{reduction}" would be ignored'


def _lp_pool(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Refuse attributes that opset 18 added, which TensorRT 8.6 ignores."""
    if any(dilation != 1 for dilation in attribute(node, "dilations", [])):
        return "dilations would be ignored"
    return "ceil_mode=1 would be ignored" if attribute(node, "ceil_mode", 0) else None


def _global_lp_pool(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    if attribute(node, "p", 2) % 2 == 0:
        return None
    return "for an odd p, values would keep their signs"


def _space_to_depth(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    mode = attribute(node, "mode", b"DCR").decode()
    return None if mode == "DCR" else f'mode="{mode}" would be ignored'


def _instance_normalization(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    from onnx import TensorProto

    weights = [facts.weight(name) for name in node.input[1:3]]
    if any(w is not None and w.data_type == TensorProto.FLOAT16 for w in weights):
        return "its float16 weights would be read as float32"
    return None


def _recurrent(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    if len(attribute(node, "activations", [])) < 2:
        return None
    for name in ("activation_alpha", "activation_beta"):
        if attribute(node, name, []):
            return f"{name} would be applied to the wrong activations"
    return None


def _if(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Refuse several outputs: the parser keeps those of a branch in an unordered table."""
    if len(node.output) < 2 or facts.constant(node.input[0]) is not None:
        return None
    return (
        f"its {len(node.output)} outputs would be in arbitrary order; fix its condition (freeze=), "
        "or write an If for each output"
    )


_REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
OPERATORS: dict[str, Rule] = {
    **{f"Reduce{kind}": _reduction for kind in _REDUCTIONS},
    "ReduceSum": _sum,
    "ReduceLogSum": _sum,
    "Constant": _constant,
    "Shape": _shape,
    "Split": _split,
    "GridSample": _grid_sample,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "LpPool": _lp_pool,
    "GlobalLpPool": _global_lp_pool,
    "SpaceToDepth": _space_to_depth,
    "InstanceNormalization": _instance_normalization,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "If": _if,
}
