"""Propagate NaN where TensorRT drops it (``nan="propagate"``).

Of a number and a NaN, TensorRT's Max, Min and all that is built on them return the number. Their
results are replaced by NaN where an input is NaN.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, apply_rules, copy_node

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_UNKNOWN = 'the type of its input must be known for nan="propagate"'
_INDICES = 'nan="propagate" does not support its second output'


def propagate_nan(model: OnnxModel, target: "Target") -> OnnxModel:
    """Make a model propagate NaN; return the model itself if that is not requested.

    Raises:
        ParseError: nodes have inputs of unknown type, or indices as a second output. Names them.
    """
    if not target.propagate_nan:
        return model
    return apply_rules(model, str(target.library), RULES, "its {op_type} propagates NaN")


def _elementwise(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Replace results by NaN where any input is NaN."""
    dtype = _float_type(node, facts)
    if not isinstance(dtype, np.dtype):
        return dtype
    chain = NodeChain(node, facts)
    result = _original(node, facts, chain)
    inputs = [name for name in node.input if name]
    for name in inputs[:-1]:
        result = chain.add("Where", chain.add("IsNaN", name), name, result)
    return chain.finish("Where", chain.add("IsNaN", inputs[-1]), inputs[-1], result)


def _first_input(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Replace results by NaN where the first input is NaN."""
    dtype = _float_type(node, facts)
    if not isinstance(dtype, np.dtype):
        return dtype
    chain = NodeChain(node, facts)
    result = _original(node, facts, chain)
    x = node.input[0]
    return chain.finish("Where", chain.add("IsNaN", x), x, result)


def _reduction(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Replace results by NaN where any of the values reduced to them is NaN."""
    from onnx import TensorProto

    dtype = _float_type(node, facts)
    if not isinstance(dtype, np.dtype):
        return dtype
    if len(node.output) > 1 and node.output[1]:
        return _INDICES
    chain = NodeChain(node, facts)
    result = _original(node, facts, chain)
    mask = chain.add("Cast", chain.add("IsNaN", node.input[0]), to=TensorProto.FLOAT)
    counts = copy_node(node)
    counts.op_type = node.op_type.replace("Min", "Max")
    counts.name = counts.output[0] = facts.unused(f"{node.output[0]}_mask")
    counts.input[0] = mask
    chain.nodes.append(counts)
    has_nan = chain.add("Greater", counts.output[0], chain.constant(0.5, np.float32))
    return chain.finish("Where", has_nan, chain.constant(np.nan, dtype), result)


def _original(node: "onnx.NodeProto", facts: TensorInfo, chain: NodeChain) -> str:
    """Add a copy of the node with a new output; return the output's name."""
    copy = copy_node(node)
    copy.name = copy.output[0] = facts.unused(f"{node.output[0]}_{node.op_type}")
    chain.nodes.append(copy)
    return str(copy.output[0])


def _float_type(node: "onnx.NodeProto", facts: TensorInfo) -> "np.dtype[Any] | str | None":
    """Return the input's dtype; None if it is not floating point, a reason if it is unknown."""
    from onnx import TensorProto, helper

    kind = facts.dtype(node.input[0])
    if kind == TensorProto.UNDEFINED:
        return _UNKNOWN
    if kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
        return np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    return None


RULES: dict[str, Rule] = {
    "Max": _elementwise,
    "Min": _elementwise,
    "Clip": _elementwise,
    "Relu": _first_input,
    "HardSigmoid": _first_input,
    "HardSwish": _first_input,
    "ReduceMax": _reduction,
    "ReduceMin": _reduction,
    "MaxPool": _reduction,
    "GlobalMaxPool": _reduction,
}
