"""Rewrite products with weights whose last two axes are transposed right after them.

TensorRT-RTX 1.6.1 fuses the two into one kernel. If the other factor is computed by products
itself, as in the blocks of a transformer, that kernel is wrong for all but the first item of a
batch: on an H200 by as much as the values themselves, in float32, float16 and bfloat16. With an
axis of size 1 between the two it is right, and takes no longer.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import with_inner
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import attribute
from fasttrt._parser.scope import Scope
from fasttrt._parser.scoped_rewrites import rewrite_found

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
    change = (
        f"rewritten with four axes, since {target.library} transposes products with weights wrongly"
    )
    return rewrite_found(model, _transposed, _with_four_axes, change)


def _transposed(node: "onnx.NodeProto", scope: Scope, _facts: TensorInfo) -> str | None:
    """Return the product with weights that a Transpose exchanges the last axes of."""
    name = node.input[0] if _exchanges_last(node) else ""
    return name if name and _is_product(name, scope) else None


def _is_product(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a product with weights, with or without a constant added."""
    node = scope.origin(name, {"MatMul"}, _PASSED, {"Add"})
    return node is not None and scope.computed(node) == list(node.input[:1])


def _exchanges_last(node: "onnx.NodeProto") -> bool:
    return node.op_type == "Transpose" and list(attribute(node, "perm", ())) == [0, 2, 1]


def _with_four_axes(node: "onnx.NodeProto", name: str, facts: TensorInfo) -> "list[onnx.NodeProto]":
    chain = NodeChain(node, facts)
    axis = 2
    if facts.opset < 13:
        wide = chain.add("Unsqueeze", name, axes=[axis])
        moved = chain.add("Transpose", wide, perm=[0, 3, 2, 1])
        return chain.finish("Squeeze", moved, axes=[axis])
    axes = chain.constant([axis])
    moved = chain.add("Transpose", chain.add("Unsqueeze", name, axes), perm=[0, 3, 2, 1])
    return chain.finish("Squeeze", moved, axes)
