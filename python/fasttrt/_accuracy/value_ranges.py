"""Infer from a model's graph the values that its integer inputs may have."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._accuracy.dataflow import constant_shape
from fasttrt._graph.graph_tensors import GraphTensors
from fasttrt._graph.traversal import with_inner

if TYPE_CHECKING:
    import onnx

# Operators whose outputs contain only values of inputs, and which inputs these are.
_PASSING: dict[str, slice] = {
    **dict.fromkeys(
        (
            "Cast",
            "Clip",
            "Expand",
            "Flatten",
            "Gather",
            "Identity",
            "Pad",
            "Reshape",
            "Slice",
            "Split",
            "Squeeze",
            "Tile",
            "Transpose",
            "Unsqueeze",
        ),
        slice(0, 1),
    ),
    "Concat": slice(None),
    "Where": slice(1, None),
}
_NARROW = 8  # bits: pixels and quantized values use their type's full range


def integer_ranges(proto: "onnx.ModelProto") -> dict[str, tuple[int, int]]:
    """Find the ranges of inputs that are used as indices: from 0 to the size of the dimension.

    Operators that only move values are followed, into subgraphs too. Indices are those of Gather,
    GatherElements, ScatterElements, GatherND and ScatterND into a dimension of fixed size, and of
    OneHot with a constant depth.

    Returns:
        (min, max), max excluded, by input name.
    """
    graph = proto.graph
    shapes = constant_shape(graph)
    depths = {
        name: int(values.reshape(-1)[0])
        for name, values in GraphTensors(proto).constants.items()
        if values.size == 1 and values.dtype in (np.int32, np.int64)
    }
    nodes = list(with_inner(graph.node))
    ranges: dict[str, tuple[int, int]] = {}
    for value in graph.input:
        carrying, sizes = {value.name}, []
        for node in nodes:
            size = _indexed_size(node, carrying, shapes, depths)
            if size is not None:
                sizes.append(size)
            passing = _PASSING.get(node.op_type)
            if passing is not None and carrying.intersection(node.input[passing]):
                carrying.update(node.output)
        if sizes:
            ranges[value.name] = (0, min(sizes))
    return ranges


def _indexed_size(
    node: "onnx.NodeProto",
    carrying: set[str],
    shapes: dict[str, tuple[int, ...]],
    depths: dict[str, int],
) -> int | None:
    """Return the size of the dimension that a node indexes with these values; None if unknown."""
    if node.op_type == "OneHot":
        return depths.get(node.input[1]) if node.input[0] in carrying else None
    if len(node.input) < 2 or node.input[1] not in carrying:
        return None
    shape = shapes.get(node.input[0], ())
    if node.op_type in {"Gather", "GatherElements", "ScatterElements"}:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        known = shape[axis : axis + 1 or None] if -len(shape) <= axis < len(shape) else ()
    elif node.op_type in {"GatherND", "ScatterND"}:
        known = shape  # the axes depend on the indices' shape: the minimum is safe for all
    else:
        return None
    return min(known) if known and min(known) > 0 else None


def default_range(dtype: "np.dtype[Any]") -> tuple[int, int]:
    """Return the default range of integers: 0 and 1, or all values of 8 bits or fewer.

    Returns:
        (min, max), max excluded.
    """
    import ml_dtypes

    if dtype.kind == "b":
        return (0, 2)
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return (int(info.min), int(info.max) + 1) if info.bits <= _NARROW else (0, 2)
