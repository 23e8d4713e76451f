"""Convert models of opsets before 7 to opset 7.

TensorRT's parser refuses the binary operators of older opsets, even between tensors of one shape,
and reads some other operators as they are today. ONNX's own converter takes ``axis`` for the last
axes, and lacks several operators.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._graph.graph_tensors import GraphTensors
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, innermost_first, replace_all, with_inner
from fasttrt._graph.weights import with_weight_inputs
from fasttrt._parser.node_rules import attribute, constant_node, copy_node, input_name
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target

_OPSET = 7
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Greater", "Less", "Equal")
_BOOLEAN = ("And", "Or", "Xor", "Greater", "Less", "Equal")
_REMOVED = ("consumed_inputs", "is_test", "broadcast")
"""Attributes that opset 7 no longer has, and whose value does not matter."""
_Rule: TypeAlias = "Callable[[onnx.NodeProto, TensorInfo], list[onnx.NodeProto]]"


class _UnknownError(Exception):
    """Something that a node's meaning depends on is unknown."""


def upgrade_old_opset(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Convert a model of an opset before 7 to opset 7.

    Raises:
        ParseError: nodes cannot be converted. Names them.
    """
    version = onnx_version(model.skeleton.opset_import)
    if version >= _OPSET or not _has_operators(model.skeleton):
        return model
    facts = TensorInfo(model, GraphTensors(_with_shapes(model.skeleton)))
    proto = model.copy_skeleton()
    issues = []
    for graph in innermost_first(proto.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            try:
                nodes += _upgraded(node, facts)
            except _UnknownError as error:
                reason = f"opset {version or 1} cannot be converted to opset {_OPSET}: {error}"
                place = model.place_of(node)
                issues.append(ParseIssue(place, node.name, node.op_type, reason))
        replace_all(graph.node, nodes)
    if issues:
        raise ParseError(f"{target.library} cannot build this model", tuple(issues))
    others = [entry for entry in proto.opset_import if entry.domain not in ONNX_DOMAINS]
    replace_all(proto.opset_import, others)
    proto.opset_import.add(domain="", version=_OPSET)
    proto.ir_version = max(proto.ir_version, 3)  # the first whose models state their opset
    line = f"converted from opset {version or 1} to opset {_OPSET}"
    return model.changed(proto, [line])


def _has_operators(proto: "onnx.ModelProto") -> bool:
    return any(node.domain in ONNX_DOMAINS for node in with_inner(proto.graph.node))


def _with_shapes(proto: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a model whose shapes ONNX can infer: a first operand has the output's before 7."""
    from onnx import TensorProto, helper

    light = with_weight_inputs(proto)
    for graph in innermost_first(light.graph):
        nodes = []
        for node in graph.node:
            first, output = node.input[:1], node.output[:1]
            if node.op_type in _BOOLEAN:
                node = helper.make_node("Cast", first, output, to=TensorProto.BOOL)
            elif node.op_type in _BINARY:
                node = helper.make_node("Identity", first, output)
            nodes.append(node)
        replace_all(graph.node, nodes)
    replace_all(light.opset_import, [helper.make_opsetid("", _OPSET)])
    return light


def _upgraded(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    if node.domain not in ONNX_DOMAINS:
        return [node]
    rule = _RULES.get(node.op_type)
    steps = [node] if rule is None else rule(node, facts)
    return [copy_node(step, **dict.fromkeys(_REMOVED)) for step in steps]


def _rank(name: str, facts: TensorInfo) -> int:
    shape = facts.shape(name)
    if shape is None:
        raise _UnknownError(f"the rank of {name} is unknown")
    return len(shape)


def _integers(name: str, facts: TensorInfo) -> list[int]:
    value = facts.constant(name)
    if value is None:
        raise _UnknownError(f"{name} is not a small constant")
    return [int(number) for number in np.ravel(value)]


def _with_axes(
    node: "onnx.NodeProto", index: int, count: int, facts: TensorInfo
) -> "list[onnx.NodeProto]":
    """Append axes of size 1 to an input."""
    from onnx import helper

    rank = _rank(node.input[index], facts)
    name = facts.unused(f"{node.output[0]}/{node.input[index]}")
    axes = list(range(rank, rank + count))
    label = facts.unused(f"{name}/Unsqueeze")
    widened = helper.make_node("Unsqueeze", [node.input[index]], [name], label, axes=axes)
    copy = copy_node(node)
    copy.input[index] = name
    return [widened, copy]


def _binary(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Broadcast the second operand, whose axes start at ``axis``, or else are the last ones."""
    axis = attribute(node, "axis", None)
    node = copy_node(node, axis=None)
    if axis is None or not attribute(node, "broadcast", 0):
        return [node]
    left, right = (_rank(name, facts) for name in node.input)
    missing = left - (axis + left if axis < 0 else axis) - right
    return _with_axes(node, 1, missing, facts) if right and missing > 0 else [node]


def _slope(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Convert PRelu, which has a slope for each channel, or one."""
    shape = facts.shape(node.input[1])
    if shape is None:
        raise _UnknownError(f"the rank of {node.input[1]} is unknown")
    missing = _rank(node.input[0], facts) - 2
    return _with_axes(node, 1, missing, facts) if shape != [1] and missing > 0 else [node]


def _cast(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    from onnx import TensorProto

    to = attribute(node, "to", 0)
    if isinstance(to, int):
        return [node]
    return [copy_node(node, to=TensorProto.DataType.Value(to.decode().upper()))]


def _tile(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Convert tiles along one axis to repeats for each, as since opset 6."""
    if len(node.input) < 3:
        return [node]
    repeats = [1] * _rank(node.input[0], facts)
    (tiles,), (axis,) = (_integers(name, facts) for name in node.input[1:3])
    repeats[axis] = tiles
    name = facts.unused(f"{node.output[0]}/repeats")
    copy = copy_node(node, inputs=1)
    copy.input.append(name)
    return [constant_node(name, repeats), copy]


def _reshape(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Convert a shape that is an attribute to an input."""
    if len(node.input) > 1:
        return [node]
    name = facts.unused(f"{node.output[0]}/shape")
    copy = copy_node(node, shape=None)
    copy.input.append(name)
    return [constant_node(name, attribute(node, "shape", [])), copy]


def _split(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    """Convert sizes that are an input to an attribute."""
    if not (sizes := input_name(node, 1)):
        return [node]
    return [copy_node(node, inputs=1, split=_integers(sizes, facts))]


def _renamed(old: str, new: str) -> _Rule:
    def rule(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
        value = attribute(node, old, None)
        return [node] if value is None else [copy_node(node, **{old: None, new: value})]

    return rule


def _upsample(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
    if attribute(node, "scales", None) is not None:
        return [node]
    scales = [
        1.0,
        1.0,
        *(float(attribute(node, f"{axis}_scale", 1.0)) for axis in ("height", "width")),
    ]
    return [copy_node(node, height_scale=None, width_scale=None, scales=scales)]


def _default(**values: Any) -> _Rule:
    """Write out the former default values of attributes."""

    def rule(node: "onnx.NodeProto", facts: TensorInfo) -> "list[onnx.NodeProto]":
        stated = {a.name for a in node.attribute}
        return [copy_node(node, **{k: v for k, v in values.items() if k not in stated})]

    return rule


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(_BINARY, _binary),
    "PRelu": _slope,
    "Cast": _cast,
    "Tile": _tile,
    "Reshape": _reshape,
    "Split": _split,
    "Pad": _renamed("paddings", "pads"),
    "Upsample": _upsample,
    "Concat": _default(axis=1),
}
