"""Which values a model's inputs may take, as far as its graph tells."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._accuracy.dataflow import constant_shape
from fasttrt._graph.graph_tensors import GraphTensors
from fasttrt._graph.traversal import with_inner

if TYPE_CHECKING:
    import onnx

# Operators whose result holds nothing but values of an input: which inputs those are.
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
_NARROW = 8  # bits: pixels and quantized values, which use their type's whole range


def integer_ranges(proto: "onnx.ModelProto") -> dict[str, tuple[int, int]]:
    """For inputs that end up as indices: from 0 to the extent of what they are looked up in.

    Followed are operators that only move values, into subgraphs too. Indices are of Gather,
    GatherElements, ScatterElements, GatherND and ScatterND into something of a fixed extent, and
    of OneHot with a constant depth.

    Returns:
        (least, most), most excluded, by the name of the input.
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
        carrying, extents = {value.name}, []
        for node in nodes:
            extent = _extent(node, carrying, shapes, depths)
            if extent is not None:
                extents.append(extent)
            passing = _PASSING.get(node.op_type)
            if passing is not None and carrying.intersection(node.input[passing]):
                carrying.update(node.output)
        if extents:
            ranges[value.name] = (0, min(extents))
    return ranges


def _extent(
    node: "onnx.NodeProto",
    carrying: set[str],
    shapes: dict[str, tuple[int, ...]],
    depths: dict[str, int],
) -> int | None:
    """The extent that a node takes these values for indices into, if it is known."""
    if node.op_type == "OneHot":
        return depths.get(node.input[1]) if node.input[0] in carrying else None
    if len(node.input) < 2 or node.input[1] not in carrying:
        return None
    shape = shapes.get(node.input[0], ())
    if node.op_type in {"Gather", "GatherElements", "ScatterElements"}:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        known = shape[axis : axis + 1 or None] if -len(shape) <= axis < len(shape) else ()
    elif node.op_type in {"GatherND", "ScatterND"}:
        known = shape  # which axes depends on the indices' shape: the least is safe for all
    else:
        return None
    return min(known) if known and min(known) > 0 else None


def default_range(dtype: "np.dtype[Any]") -> tuple[int, int]:
    """Of integers of which the graph tells nothing: 0 and 1; of 8 bits and less, all there are.

    Returns:
        (least, most), most excluded.
    """
    import ml_dtypes

    if dtype.kind == "b":
        return (0, 2)
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return (int(info.min), int(info.max) + 1) if info.bits <= _NARROW else (0, 2)
