"""Refuse nodes with invalid constants, some of which crash the process.

TensorRT's parser divides integer constants itself, reads more dimensions than a constant has, and
truncates numbers to 32 bits (measured with TensorRT-RTX 1.6.1).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, with_inner
from fasttrt._parser.node_rules import input_name
from fasttrt._parser.quirks import refuse

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_SIZE_INPUTS = {
    "ConstantOfShape": 0, "Expand": 1, "OneHot": 1, "Reshape": 1, "Resize": 3, "Split": 1,
    "Tile": 1, "TopK": 1,
}  # fmt: skip
"""By operator, the input that holds sizes or counts."""
_MAY_BE_NEGATIVE = ("Expand", "Reshape")


def check_constants(model: OnnxModel, target: "Target") -> OnnxModel:
    """Check the constant inputs of nodes; return the model itself.

    Raises:
        ParseError: names each node with an invalid one.
    """
    nodes = [
        node
        for node in with_inner(model.skeleton.graph.node)
        if node.op_type in _CHECKS and node.domain in ONNX_DOMAINS
    ]
    if nodes:
        facts = TensorInfo(model)
        reasons = [(node, _CHECKS[node.op_type](node, facts)) for node in nodes]
        refuse(model, str(target.library), [(node, reason) for node, reason in reasons if reason])
    return model


def _sizes(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    index = _SIZE_INPUTS[node.op_type]
    values = facts.constant(input_name(node, index))
    if values is None or values.dtype.kind not in "iu" or values.size == 0:
        return ""
    if values.max() >= 2**31 or values.min() < -(2**31):
        return f"its input {index}, {values.tolist()}, exceeds 32 bits"
    if values.min() < 0 and node.op_type not in _MAY_BE_NEGATIVE:
        return f"its input {index}, {values.tolist()}, is negative"
    return ""


def _size_list(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    """Check that sizes are of rank 1, and their values."""
    name = input_name(node, _SIZE_INPUTS[node.op_type])
    shape = facts.shape(name) if name else None
    if shape is not None and len(shape) != 1:
        return f"its input {_SIZE_INPUTS[node.op_type]} has {len(shape)} axes, expected 1"
    if node.op_type == "Split" and facts.shape(input_name(node, 0)) == []:
        return "its input is a scalar"
    return _sizes(node, facts)


def _top_k(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    shape = facts.shape(input_name(node, 1)) if len(node.input) > 1 else None
    if shape is not None and shape not in ([], [1], [None]):
        return f"its input 1 has shape {shape}, expected [1]"
    return _sizes(node, facts)


def _resize(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    scales = facts.constant(input_name(node, 1 if len(node.input) == 2 else 2))
    if scales is not None and not np.all((scales > 0) & np.isfinite(scales)):
        return f"its scales, {scales.tolist()}, are not all positive"
    return _sizes(node, facts) if node.op_type == "Resize" else ""


def _quantization(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    shape = facts.shape(input_name(node, 1))
    return "its scale has no elements" if shape is not None and 0 in shape else ""


def _division(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    dividend, divisor = (_integers(name, facts) for name in node.input)
    if divisor is not None and not divisor.all():
        return "it divides integers by 0"  # the dividend may be a shape, which the parser evaluates
    if dividend is None or divisor is None:
        return ""
    minimum = np.iinfo(dividend.dtype).min
    if dividend.dtype.kind == "i" and (divisor == -1).any() and (dividend == minimum).any():
        return f"it divides {minimum} by -1, which {dividend.dtype} cannot hold"
    return ""


def _integers(name: str, facts: TensorInfo) -> "np.ndarray[Any, Any] | None":
    """Return the values of an integer constant; None for other tensors and external data."""
    values = facts.constant(name)
    if values is None:
        values = facts.weight_values(name)
    return values if values is not None and values.dtype.kind in "iu" else None


def _indices(node: "onnx.NodeProto", facts: TensorInfo) -> str:
    """Check for a rank of 0, which crashes TensorRT or fails the build without a reason."""
    data, indices = (facts.shape(input_name(node, index)) for index in (0, 1))
    if indices == [] or data == []:
        return f"its {'indices are' if indices == [] else 'data is'} a scalar"
    has_one_rank = node.op_type in ("GatherElements", "ScatterElements")
    if has_one_rank and data is not None and indices is not None and len(data) != len(indices):
        return (
            f"its data has rank {len(data)} and its indices rank {len(indices)}, expected the same"
        )
    return ""


_CHECKS: dict[str, Callable[[Any, TensorInfo], str]] = {
    **dict.fromkeys(_SIZE_INPUTS, _sizes),
    "ConstantOfShape": _size_list,
    "DequantizeLinear": _quantization,
    "Div": _division,
    "GatherElements": _indices,
    "GatherND": _indices,
    "Mod": _division,
    "QuantizeLinear": _quantization,
    "Resize": _resize,
    "ScatterElements": _indices,
    "ScatterND": _indices,
    "Split": _size_list,
    "TopK": _top_k,
    "Upsample": _resize,
}
