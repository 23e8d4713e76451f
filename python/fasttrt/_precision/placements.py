"""Place a converted model's casts; other placements are tried if TensorRT cannot fuse the default.

TensorRT recognizes attention by its pattern and computes it in one kernel. If there are casts
within the pattern, its builder may fail, although it supports each operator.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.traversal import graphs_of

if TYPE_CHECKING:
    import onnx

    _Nodes: TypeAlias = Sequence[onnx.NodeProto]

DEFAULT = "by operator"
"""Each operator follows `fasttrt._precision.rules`."""
AROUND_ATTENTION = "around attention"
"""The products of attention, and the nodes between them, stay in float32."""
AROUND_PRODUCTS = "around products"
"""Attention, and everything but convolutions and matrix products, stays in float32."""
PLACEMENTS = (DEFAULT, AROUND_ATTENTION, AROUND_PRODUCTS)
"""The placements, in the order in which they are tried."""

REASON = "TensorRT cannot fuse it with casts in between"
"""The reason for nodes that a placement keeps in float32."""

_PRODUCTS = frozenset(("Einsum", "MatMul"))
_HEAVY = _PRODUCTS | {"Attention", "Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "RNN"}
_BETWEEN = frozenset(
    ("Add", "Cast", "Clip", "Div", "Dropout", "Equal", "Expand", "Identity", "IsNaN", "Max", "Min",
     "Mul", "Neg", "Reshape", "Slice", "Softmax", "Squeeze", "Sub", "Tanh", "Transpose",
     "Unsqueeze", "Where")
)  # fmt: skip
"""Operators between the products of attention: scales, masks, caps, guards against NaN."""


def failed_in_fusion(error: Exception) -> bool:
    """Return whether a build failed while TensorRT's compiler fused operators."""
    text = str(error)
    return re.search("fusion|myelin", text, re.IGNORECASE) is not None and "CUDA" not in text


def float32_nodes(graph: "onnx.GraphProto", placement: str) -> set[str]:
    """Return the names of the nodes that a placement keeps in float32, in subgraphs too."""
    if placement == DEFAULT:
        return set()
    found: set[str] = set()
    for inner in graphs_of(graph):
        found.update(node.name for node in _attention(inner.node))
        if placement == AROUND_PRODUCTS:
            found.update(node.name for node in inner.node if node.op_type not in _HEAVY)
    return found


def _attention(nodes: "_Nodes") -> "Iterable[onnx.NodeProto]":
    """Yield the nodes from the products before each Softmax to those after it."""
    makers = {name: node for node in nodes for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def sources(node: "onnx.NodeProto") -> "_Nodes":
        return [makers[name] for name in node.input if name in makers]

    def consumers(node: "onnx.NodeProto") -> "_Nodes":
        return [user for name in node.output for user in users.get(name, ())]

    for softmax in (node for node in nodes if node.op_type == "Softmax"):
        parts = [_up_to_products(softmax, step) for step in (sources, consumers)]
        if all(any(node.op_type in _PRODUCTS for node in part) for part in parts):
            for part in parts:
                yield from part


def _up_to_products(
    start: "onnx.NodeProto", step: "Callable[[onnx.NodeProto], _Nodes]"
) -> "_Nodes":
    """Return the nodes from ``start`` in a direction, up to the nearest products."""
    found: dict[str, onnx.NodeProto] = {}
    open_ = [start]
    while open_:
        node = open_.pop()
        if node.name in found or node.op_type not in _BETWEEN | _PRODUCTS:
            continue
        found[node.name] = node
        if node.op_type not in _PRODUCTS:
            open_.extend(step(node))
    return list(found.values())
