"""Keep TensorRT from multiplying activated products in the kernel that computes them.

TensorRT-RTX 1.6.1 leaves out the bias where it multiplies ``f(x @ weights + bias)`` with another
tensor and f is Relu or Gelu: gates (GEGLU, ReGLU), squared activations, learned scales. On an H200,
such layers were off by 0.3 to 0.8 of their norm at some batch size, or no execution context could
be created, in float32 and in 16 bits. Right were products without a bias, or with one that is
computed; sums, quotients and powers of them; those that a Reshape or Transpose follows;
convolutions; and other activations, SiLU and ``Max(u, 0)`` among them.

With a LeakyRelu between activation and multiplication, all of them are right; with a slope of 1 it
changes no value, and it takes no time that could be measured.
"""

from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import with_inner
from fasttrt._parser.node_rules import attribute
from fasttrt._parser.scope import Scope
from fasttrt._parser.scoped_rewrites import rewrite_found, separate

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_ACTIVATIONS = {"Gelu", "Relu"}
_PRODUCTS = {"Einsum", "Gemm", "MatMul"}
_UNCHANGED = {"Cast", "Dropout", "Identity"}
"""Operators that may stand between an activation and its multiplication."""
_MOVED = _UNCHANGED | {
    "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"
}  # fmt: skip
"""Those that may stand between a product and its activation."""
_SUMS = {"Add", "Sub", "Sum"}
_MOST_FACTORS = 4  # of a Gelu in other operators
_MOST_TERMS = 16  # of a sum with a product


def separate_activations(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write a LeakyRelu between activated products with a bias and what multiplies them.

    Return the model itself if it has no such multiplication.
    """
    operators = {node.op_type for node in with_inner(model.skeleton.graph.node)}
    if target.library.family != "rtx" or "Mul" not in operators or not operators & _PRODUCTS:
        return model
    change = (
        "a LeakyRelu that changes no value stands before this multiplication, since "
        f"{target.library} would leave out the bias of the activated product"
    )
    return rewrite_found(model, _activated, separate, change)


def _activated(node: "onnx.NodeProto", scope: Scope, facts: TensorInfo) -> list[str] | None:
    """Return which factors of a Mul are activated products."""
    if node.op_type != "Mul":
        return None
    is_scaled = any(_is_number(name, scope, facts) for name in node.input)
    factors = [
        name
        for name in dict.fromkeys(node.input)
        if _is_floating(name, scope, facts) and _is_activated(name, scope, is_scaled)
    ]
    return factors or None


def _is_number(name: str, scope: Scope, facts: TensorInfo) -> bool:
    """Return whether a tensor is a constant of one element."""
    shape = facts.shape(name) if name in scope.constants else None
    return shape is not None and all(size == 1 for size in shape)


def _is_floating(name: str, scope: Scope, facts: TensorInfo) -> bool:
    """Return whether a tensor is of floating point, as LeakyRelu's have to be."""
    from onnx import TensorProto

    kinds = (TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16)
    kind = facts.dtype(name)
    if not kind:  # several graphs have tensors of this name
        cast = scope.origin(name, {"Cast"}, _UNCHANGED - {"Cast"}, set())
        kind = TensorProto.FLOAT if cast is None else attribute(cast, "to", 0)
    return kind in kinds


def _is_activated(name: str, scope: Scope, is_scaled: bool) -> bool:
    """Return whether a tensor is Relu or Gelu of a product with a bias.

    Args:
        name: the tensor.
        scope: its scope.
        is_scaled: whether a number multiplies it, which may be a part of Gelu in other operators.
    """
    node = scope.origin(name, _ACTIVATIONS, _UNCHANGED, set())
    if node is not None:
        return _has_bias(node.input[0], scope)
    given = None if is_scaled else _given_to_gelu(name, scope)
    return given is not None and _has_bias(given, scope)


def _given_to_gelu(name: str, scope: Scope) -> str | None:
    """Return x if a tensor is ``x * (1 + Erf(...)) * 0.5`` or the same with Tanh, in any order."""
    factors = [name]
    place = 0
    while place < len(factors) <= _MOST_FACTORS:
        maker = scope.origin(factors[place], {"Div", "Mul"}, _UNCHANGED, set())
        if maker is not None and (maker.op_type == "Mul" or maker.input[1] in scope.constants):
            factors[place : place + 1] = maker.input
        else:
            place += 1
    computed = [factor for factor in factors if factor not in scope.constants]
    others = [factor for factor in computed if not _is_gelu_share(factor, scope)]
    return others[0] if (len(computed), len(others)) == (2, 1) else None


def _is_gelu_share(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a constant and Erf or Tanh."""
    node = scope.origin(name, {"Erf", "Tanh"}, _UNCHANGED, {"Add", "Sum"})
    return node is not None


def _has_bias(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a product with a bias, or a part of one."""
    node = scope.origin(name, {"Gemm"} | _SUMS, _MOVED, set())
    if node is None or node.op_type == "Gemm":
        return node is not None and len(node.input) == 3 and bool(node.input[2])
    terms = [*node.input]
    for term in terms:  # which sums of sums extend
        maker = scope.origin(term, _PRODUCTS | _SUMS, _MOVED, set())
        if maker is not None and maker.op_type in _PRODUCTS:
            return True
        if maker is not None and len(terms) < _MOST_TERMS:
            terms.extend(maker.input)
    return False
