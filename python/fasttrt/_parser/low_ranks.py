"""Rewrite operators on tensors of rank 0 and 1 that TensorRT has for higher ranks only."""

from typing import TYPE_CHECKING

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

_REDUCED_TO_INDEX = ("ArgMax", "ArgMin")


def add_leading_axis(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite Softmax and the like, ArgMax and ArgMin of rank 0 or 1 with rank 2."""
    rank = _rank(node.input[0], facts)
    if rank is None or rank > 1:
        return None
    shape = [1, 1] if rank == 0 else [1, -1]
    widened, (first, *_) = facts.unused(f"{node.output[0]}/widened"), node.output
    steps = _reshape(node.input[0], widened, shape, facts)
    inner = copy_node(node, axis=-1)
    inner.input[0] = widened
    keeps_axis = node.op_type not in _REDUCED_TO_INDEX or attribute(node, "keepdims", 1)
    if node.op_type in _REDUCED_TO_INDEX:
        inner = copy_node(inner, keepdims=1)
    inner.output[0] = facts.unused(f"{first}/wide")
    narrow: list[int] = [-1] if rank == 1 and keeps_axis else []
    return [*steps, inner, *_reshape(inner.output[0], first, narrow, facts)]


def reduce_scalar(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite a reduction of a scalar with rank 1."""
    if _rank(node.input[0], facts) != 0:
        return None
    axes = input_name(node, 1)
    values = facts.constant(axes) if axes else attribute(node, "axes", ())
    if values is None or len(values):
        return None
    widened = facts.unused(f"{node.output[0]}/widened")
    inner = copy_node(node, keepdims=1)
    inner.input[0] = widened
    inner.output[0] = facts.unused(f"{node.output[0]}/wide")
    return [
        *_reshape(node.input[0], widened, [1], facts),
        inner,
        *_reshape(inner.output[0], node.output[0], [], facts),
    ]


def widen_vector(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Rewrite a product with a vector as one with a matrix of a single row or column.

    TensorRT's parser gets products of vectors and batches of matrices wrong.
    """
    ranks = [_rank(name, facts) for name in node.input[:2]]
    if None in ranks or 1 not in ranks or max(filter(None, ranks), default=0) < 2:
        return None
    is_left = ranks[0] == 1
    vector, shape = (node.input[0], [1, -1]) if is_left else (node.input[1], [-1, 1])
    widened = facts.unused(f"{node.output[0]}/widened")
    steps = _reshape(vector, widened, shape, facts)
    inner = copy_node(node)
    inner.input[0 if is_left else 1] = widened
    inner.output[0] = facts.unused(f"{node.output[0]}/wide")
    index, axis = (f"{node.output[0]}/{what}" for what in ("index", "axis"))
    index = facts.unused(index)
    from onnx import helper

    # Gather rather than Squeeze, whose axes became an input in opset 13.
    return [
        *steps,
        inner,
        constant_node(index, 0),
        helper.make_node(
            "Gather",
            [inner.output[0], index],
            [node.output[0]],
            facts.unused(axis),
            axis=-2 if is_left else -1,
        ),
    ]


def _rank(name: str, facts: TensorInfo) -> int | None:
    shape = facts.shape(name)
    return None if shape is None else len(shape)


def _reshape(
    tensor: str, output: str, shape: list[int], facts: TensorInfo
) -> "list[onnx.NodeProto]":
    from onnx import helper

    name = facts.unused(f"{output}/shape")
    reshape = helper.make_node("Reshape", [tensor, name], [output], f"{output}/reshape")
    return [constant_node(name, shape), reshape]
