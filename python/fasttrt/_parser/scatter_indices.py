"""Make negative indices of scatters positive: TensorRT does not count them from the end.

Indices that are known not to be negative stay unchanged.
"""

from typing import TYPE_CHECKING

import numpy as np

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute, copy_node

if TYPE_CHECKING:
    import onnx


def _scatter_elements(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    if not _may_be_negative(node.input[1], facts):
        return None
    shape, axis = facts.shape(node.input[0]), attribute(node, "axis", 0)
    chain = NodeChain(node, facts)
    if axis < 0:
        if shape is None:
            return "the rank of its data must be known, as its axis counts from the end"
        axis += len(shape)
    size = chain.add("Gather", chain.add("Shape", node.input[0]), chain.constant([axis]))
    return _counted_from_start(node, facts, chain, size)


def _scatter_nd(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    if not _may_be_negative(node.input[1], facts):
        return None
    shape = facts.shape(node.input[1])
    if not shape or shape[-1] is None:
        return "the last dimension of its indices must be known, as they may be negative"
    chain = NodeChain(node, facts)
    leading = chain.constant(list(range(shape[-1])))
    sizes = chain.add("Gather", chain.add("Shape", node.input[0]), leading)
    return _counted_from_start(node, facts, chain, sizes)


def _counted_from_start(
    node: "onnx.NodeProto", facts: TensorInfo, chain: NodeChain, sizes: str
) -> Replacement:
    """Add the sizes, int64 and broadcast to the indices, to negative indices."""
    from onnx import TensorProto

    indices = node.input[1]
    if facts.dtype(indices) != TensorProto.INT64:
        indices = chain.add("Cast", indices, to=TensorProto.INT64)
    is_negative = chain.add("Less", indices, chain.constant([0]))
    from_end = chain.add("Add", indices, sizes)
    scatter = copy_node(node)
    scatter.input[1] = chain.add("Where", is_negative, from_end, indices)
    return [*chain.nodes, scatter]


def _may_be_negative(name: str, facts: TensorInfo) -> bool:
    value = facts.constant(name)
    if value is None:
        value = facts.weight_values(name)
    return value is None or bool((np.asarray(value) < 0).any())


RULES: dict[str, Rule] = {
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
