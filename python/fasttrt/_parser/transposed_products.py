"""Rewrite products with weights whose last two axes are transposed right after them.

TensorRT-RTX 1.6.1 fuses the two into one kernel. If the other factor is computed by products
itself, as in the blocks of a transformer, that kernel is wrong for all but the first item of a
batch: on an H200 by as much as the values themselves, in float32, float16 and bfloat16. With an
axis of size 1 between the two it is right, and takes no longer.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, replace_at, subgraphs, with_inner
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute
from fasttrt._parser.scope import Scope

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_PASSED = {"Cast", "Dropout", "Identity"}
"""Operators that may stand between product and Transpose; TensorRT has no kernels for them."""


def write_transposed_products(model: OnnxModel, target: "Target") -> OnnxModel:
    """Rewrite ``Transpose(MatMul(x, weights) + constant, perm=[0, 2, 1])`` with four axes.

    The addition is optional. Return the model itself if it has no such product.
    """
    nodes = with_inner(model.skeleton.graph.node)
    if target.library.family != "rtx" or not any(map(_exchanges_last, nodes)):
        return model
    if next(_find(model.skeleton.graph, Scope()), None) is None:
        return model
    facts = TensorInfo(model)
    proto = model.copy_skeleton()
    lines = []
    for graph, index in reversed(list(_find(proto.graph, Scope()))):  # inner graphs come first
        node = graph.node[index]
        replace_at(graph.node, index, _with_four_axes(node, facts))
        lines.append(
            f"{node.name or node.output[0]}: rewritten with four axes, since {target.library} "
            "transposes products with weights wrongly"
        )
    return model.changed(proto, lines[::-1])


def _is_product(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a product with weights, with or without a constant added."""
    node = scope.origin(name, {"MatMul"}, _PASSED, {"Add"})
    return node is not None and scope.computed(node) == list(node.input[:1])


def _find(graph: "onnx.GraphProto", outer: Scope) -> "Iterator[tuple[onnx.GraphProto, int]]":
    """Yield the Transposes to rewrite, by graph and index, those of subgraphs last."""
    scope = outer.within(graph)
    for index, node in enumerate(graph.node):
        if _exchanges_last(node) and _is_product(node.input[0], scope):
            yield graph, index
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _find(inner, scope)


def _exchanges_last(node: "onnx.NodeProto") -> bool:
    is_transpose = node.op_type == "Transpose" and node.domain in ONNX_DOMAINS
    return is_transpose and list(attribute(node, "perm", ())) == [0, 2, 1]


def _with_four_axes(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    chain = NodeChain(node, facts)
    name, axis = node.input[0], 2
    if facts.opset < 13:
        wide = chain.add("Unsqueeze", name, axes=[axis])
        moved = chain.add("Transpose", wide, perm=[0, 3, 2, 1])
        return chain.finish("Squeeze", moved, axes=[axis])
    axes = chain.constant([axis])
    moved = chain.add("Transpose", chain.add("Unsqueeze", name, axes), perm=[0, 3, 2, 1])
    return chain.finish("Squeeze", moved, axes)
