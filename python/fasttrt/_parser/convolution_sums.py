"""Keep TensorRT from adding a convolution to another tensor in place.

TensorRT-RTX 1.6.1 computes some sums of a convolution and another tensor wrongly, as if a part of
the other tensor were not there yet, or were what an earlier run had left there. Seen on an H200:

* In float32 with TF32, runs that follow each other: bottleneck blocks of ResNet-50 that project
  their input were off by 0.6 to 0.9 of the largest value in most runs but the first, with and
  without CUDA graphs, depending on the size; a block after such a one, which adds its input as it
  is, was off by 0.45 in the first run after its input had changed. An activation after one of two
  convolutions does not help.
* In float16, runs that overlap on the GPU, those of two engines, too: ResNet-50 was off by up to
  0.3 of the largest value in 1 of 150 to 1 of 2,000 runs, and the vendor's own bindings were.

With an operator between convolution and sum, all that were tried are right. TensorRT must not
remove that operator, and it must change no value: LeakyRelu with a slope of 1 keeps NaN,
infinities and -0, too.
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
    """Write a LeakyRelu between convolutions and their sums with what is computed, too.

    Return the model itself if it has no such sum.
    """
    nodes = with_inner(model.skeleton.graph.node)
    if target.library.family != "rtx" or not any(node.op_type in _CONVOLUTIONS for node in nodes):
        return model
    if next(_find(model.skeleton.graph, Scope()), None) is None:
        return model
    facts = TensorInfo(model)
    proto = model.copy_skeleton()
    lines = []
    for found in reversed(list(_find(proto.graph, Scope()))):  # inner graphs come first
        node = found.graph.node.pop(found.place)
        for step in reversed(_separated(node, found.operands, facts)):
            found.graph.node.insert(found.place, step)
        lines.append(
            f"{node.name or node.output[0]}: a LeakyRelu that changes no value stands between this "
            f"sum and its convolutions, since repeated or overlapping runs of {target.library} may "
            "be wrong"
        )
    return model.changed(proto, lines[::-1])


class _Sum(NamedTuple):
    """A sum of a convolution and another tensor that is not constant."""

    graph: "onnx.GraphProto"
    place: int
    operands: list[int]
    """Which of its inputs are convolutions."""


def _find(graph: "onnx.GraphProto", outer: Scope) -> Iterator[_Sum]:
    """Yield the sums to rewrite, those of subgraphs last."""
    scope = outer.within(graph)
    for place, node in enumerate(graph.node):
        if node.op_type not in _SUMS or node.domain not in ONNX_DOMAINS:
            continue
        computed = scope.computed(node)
        operands = [i for i, name in enumerate(node.input) if _is_convolved(name, scope)]
        if operands and len(computed) > 1:
            yield _Sum(graph, place, operands)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _find(inner, scope)


def _is_convolved(name: str, scope: Scope) -> bool:
    """Return whether a tensor is a convolution, but for what becomes part of it."""
    node = scope.origin(name, _CONVOLUTIONS, _PASSED, _SCALED)
    return node is not None and len(scope.computed(node)) == 1


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
