"""NaN where TensorRT loses it: results are replaced by NaN where an input is (``nan="propagate"``).

TensorRT's Max, Min and what is made of them take the number of a number and a NaN.
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

_UNKNOWN = 'the type of its input is not known, and has to be for nan="propagate"'
_INDICES = 'it has a second output, of which nan="propagate" knows no NaN'


def propagate_nan(model: OnnxModel, target: "Target") -> OnnxModel:
    """Make a model propagate NaN; return the model itself if that is not requested.

    Raises:
        ParseError: names the nodes of which the type is not known.
    """
    if not target.propagate_nan:
        return model
    return apply_rules(model, str(target.library), RULES, "NaN goes through its {op_type}")


def _elementwise(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """NaN where any input is."""
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
    """NaN where the first input is."""
    dtype = _float_type(node, facts)
    if not isinstance(dtype, np.dtype):
        return dtype
    chain = NodeChain(node, facts)
    result = _original(node, facts, chain)
    x = node.input[0]
    return chain.finish("Where", chain.add("IsNaN", x), x, result)


def _reduction(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """NaN where one of the values is of which it takes the greatest or the least."""
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
    """Add the node with another output; give that."""
    copy = copy_node(node)
    copy.name = copy.output[0] = facts.unused(f"{node.output[0]}_{node.op_type}")
    chain.nodes.append(copy)
    return str(copy.output[0])


def _float_type(node: "onnx.NodeProto", facts: TensorInfo) -> "np.dtype[Any] | str | None":
    """Return the dtype; None if it is not a float, a reason if it is unknown."""
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
