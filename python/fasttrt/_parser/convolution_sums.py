"""Keep TensorRT from adding a convolution to the result of another in place.

TensorRT-RTX 1.6.1 computes some sums ``conv(a) + conv(b)`` in float32 with TF32 wrongly, most of
them from the second run of an engine on, as if the second convolution added to what the first one
had left in an earlier run. On an H200 the bottleneck blocks of ResNet-50 that project their input
are off by 0.6 to 0.9 of the largest value, with and without CUDA graphs, depending on the size; an
activation after one of the two convolutions does not help. Right are differences and products of
convolutions, sums of two convolutions of the same tensor, and all of these in 16 bits.

With an operator between convolution and sum, all are right, and take no longer. TensorRT must not
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
_ACTIVATIONS = {
    "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid",
    "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
}  # fmt: skip
_PASSED = {
    "BatchNormalization", "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that become part of the convolution, or that TensorRT removes."""


def separate_convolutions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Write a LeakyRelu between float32 convolutions of different inputs and their sum.

    Return the model itself if it has no such sum.
    """
    count = sum(node.op_type in _CONVOLUTIONS for node in with_inner(model.skeleton.graph.node))
    if target.library.family != "rtx" or count < 2:
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
            f"{node.name or node.output[0]}: a LeakyRelu that changes no value stands before this "
            f"sum of convolutions, since {target.library} computes it wrongly after the first run"
        )
    return model.changed(proto, lines[::-1])


class _Sum(NamedTuple):
    """A sum of convolutions of different inputs."""

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
        convolved = [_convolved(name, scope, facts) for name in node.input]
        activated = [_activated(name, scope, facts) for name in node.input]
        operands = [i for i, found in enumerate(convolved) if found]
        summands = [found for found in (*convolved, *activated) if found]
        if operands and len(summands) > 1 and len(set().union(*summands)) > 1:
            yield _Sum(graph, place, operands)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _find(inner, scope, facts)


def _convolved(name: str, scope: Scope, facts: TensorInfo, *, summed: bool = True) -> set[str]:
    """Return the inputs of the convolutions that a tensor consists of; empty if it is none.

    With ``summed``, it may be the sum of several.
    """
    found: set[str] = set()
    waiting, seen = [name], {name}
    while waiting:
        node = scope.makers.get(waiting.pop())
        if node is None or node.domain not in ONNX_DOMAINS:
            continue
        computed = scope.computed(node)
        if node.op_type in _CONVOLUTIONS:
            if len(computed) == 1 and _is_float32(node.output[0], facts):
                found.update(computed)
            continue
        if node.op_type in _PASSED:
            computed = computed[:1]
        elif node.op_type not in _SCALED or (
            len(computed) > 1 and not (summed and node.op_type in _SUMS)
        ):
            continue
        waiting += [source for source in computed if source not in seen]
        seen.update(computed)
    return found


def _activated(name: str, scope: Scope, facts: TensorInfo) -> set[str]:
    """Return the input of the convolution whose activation a tensor is; empty if it is none."""
    node = scope.makers.get(name)
    if node is None or node.op_type not in _ACTIVATIONS or node.domain not in ONNX_DOMAINS:
        return set()
    # Not of a sum: that is a residual block's result, to which the next block's may be added.
    return _convolved(node.input[0], scope, facts, summed=False)


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
