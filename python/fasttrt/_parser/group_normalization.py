"""Write out GroupNormalization with one group, which TensorRT-RTX 1.6.1 gets wrong in every type.

It is written in the operators by which ONNX defines it, in float32.
"""

from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, apply_rules, attribute

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target


def write_group_normalization(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write out GroupNormalization with one group; return the model itself if it has none.

    Raises:
        ParseError: the rank of such a node's input is unknown.
    """
    change = "{op_type} is rewritten in other operators, since {library} gets one group wrong"
    rules = {"GroupNormalization": _group_normalization}
    return apply_rules(model, str(target.library), rules, change)


def _group_normalization(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    from onnx import TensorProto

    if attribute(node, "num_groups", 1) != 1:
        return None
    shape, kind = facts.shape(node.input[0]), facts.dtype(node.input[0])
    if shape is None:
        return "with one group, the rank of its input must be known"
    chain = NodeChain(node, facts)
    is_narrow = kind != TensorProto.FLOAT

    def wide(name: str) -> str:
        return chain.add("Cast", name, to=TensorProto.FLOAT) if is_narrow else name

    axes = chain.constant(list(range(1, len(shape))))
    x = wide(node.input[0])
    centred = chain.add("Sub", x, chain.add("ReduceMean", x, axes, keepdims=1))
    variance = chain.add("ReduceMean", chain.add("Mul", centred, centred), axes, keepdims=1)
    epsilon = chain.constant(attribute(node, "epsilon", 1e-5), np.float32)
    deviation = chain.add("Sqrt", chain.add("Add", variance, epsilon))
    result = chain.add("Div", centred, deviation)
    rank = chain.constant([-1, *[1] * (len(shape) - 2)])  # [C, 1, ...], or [1, 1, ...] of opset 18
    for operator, name in (("Mul", node.input[1]), ("Add", node.input[2])):
        result = chain.add(operator, result, chain.add("Reshape", wide(name), rank))
    if kind == TensorProto.UNDEFINED:
        return chain.finish("CastLike", result, node.input[0])
    if is_narrow:
        return chain.finish("Cast", result, to=kind)
    return chain.finish("Identity", result)
