"""Keep TensorRT from adding a convolution to another tensor in place.

TensorRT-RTX 1.6.1 computes some sums of a convolution and another tensor in float32 with TF32
wrongly from the second run of an engine on, as if the other tensor were what an earlier run had
left there. On an H200 the bottleneck blocks of ResNet-50 that project their input were off by 0.6
to 0.9 of the largest value in most runs, with and without CUDA graphs, depending on the size; a
block after such a one, which adds its input as it is, was off by 0.45 in the first run after its
input had changed. An activation after one of two convolutions does not help. In 16 bits all are
right.

With an operator between convolution and sum, all that were tried are right, and take no longer.
TensorRT must not remove that operator, and it must change no value: LeakyRelu with a slope of 1
keeps NaN, infinities and -0, too.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, subgraphs, with_inner
from fasttrt._parser.scope import Scope

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_SUMS = {"Add", "Sum"}
_CONVOLUTIONS = {"Conv", "ConvTranspose"}
_SCALED = {"Add", "Div", "Mul", "Sub", "Sum"}
"""Operators that become part of a convolution if all but one of their inputs are constant."""
_PASSED = {
    "BatchNormalization", "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that become part of the convolution, or that TensorRT removes."""


def separate_convolutions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write a LeakyRelu between float32 convolutions and their sums with what is computed, too.

    Return the model itself if it has no such sum.
    """
    nodes = with_inner(model.skeleton.graph.node)
    if target.library.family != "rtx" or not any(node.op_type in _CONVOLUTIONS for node in nodes):
        return model
    facts = TensorInfo(model)
    if next(_find(model.skeleton.graph, Scope(), facts), None) is None:
        return model
    proto = model.copy_skeleton()
    lines = []
    for found in reversed(list(_find(proto.graph, Scope(), facts))):  # inner graphs come first
        node = found.graph.node.pop(found.place)
        for step in reversed(_separated(node, found.operands, facts)):
            found.graph.node.insert(found.place, step)
        lines.append(
            f"{node.name or node.output[0]}: a LeakyRelu that changes no value stands between this "
            f"sum and its convolutions, since {target.library} may be wrong after the first run"
        )
    return model.changed(proto, lines[::-1])


class _Sum(NamedTuple):
    """A sum of a convolution and another tensor that is not constant."""

    graph: "onnx.GraphProto"
    place: int
    operands: list[int]
    """Which of its inputs are convolutions."""


def _find(graph: "onnx.GraphProto", outer: Scope, facts: TensorInfo) -> Iterator[_Sum]:
    """Yield the sums to rewrite, those of subgraphs last."""
    scope = outer.within(graph)
    for place, node in enumerate(graph.node):
        if node.op_type not in _SUMS or node.domain not in ONNX_DOMAINS:
            continue
        computed = scope.computed(node)
        operands = [i for i, name in enumerate(node.input) if _is_convolved(name, scope, facts)]
        if operands and len(computed) > 1:
            yield _Sum(graph, place, operands)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _find(inner, scope, facts)


def _is_convolved(name: str, scope: Scope, facts: TensorInfo) -> bool:
    """Return whether a tensor is a float32 convolution, but for what becomes part of it."""
    node = scope.origin(name, _CONVOLUTIONS, _PASSED, _SCALED)
    if node is None or len(scope.computed(node)) != 1:
        return False
    return _is_float32(node.output[0], facts)


def _is_float32(name: str, facts: TensorInfo) -> bool:
    from onnx import TensorProto

    return facts.dtype(name) in (TensorProto.FLOAT, TensorProto.UNDEFINED)


def _separated(
    node: "onnx.NodeProto", operands: list[int], facts: TensorInfo
) -> "list[onnx.NodeProto]":
    """Return the sum with a LeakyRelu before each of its convolutions."""
    from onnx import helper

    steps = []
    for place in operands:
        output = facts.unused(f"{node.input[place]}_LeakyRelu")
        steps.append(
            helper.make_node("LeakyRelu", [node.input[place]], [output], output, alpha=1.0)
        )
        node.input[place] = output
    return [*steps, node]
