"""Write an Identity where a branch returns an outer tensor reshaped to the shape it has.

TensorRT-RTX 1.6.1 drops such a Reshape from the branch of an If and copies nothing: the engine's
output keeps whatever its memory held, and the other branch may read such memory, too. An Identity
is copied.
"""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import all_nodes, subgraphs
from fasttrt._parser.node_rules import attribute, input_name

if TYPE_CHECKING:
    import onnx

    from fasttrt._parser.pipeline import Target

_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
"""Operators that keep elements and their order."""


def write_branch_outputs(model: OnnxModel, target: "Target") -> OnnxModel:
    """Replace Reshapes that change nothing in branches; return the model itself if it has none."""
    if not any(_last_views(branch) for branch in _branches(model.skeleton)):
        return model
    facts = TensorInfo(model)
    if not any(_unchanged(branch, facts) for branch in _branches(model.skeleton)):
        return model
    proto = model.copy_skeleton()
    lines = []
    for branch in _branches(proto):
        for node, source in _unchanged(branch, facts):
            lines.append(
                f"{node.name or node.output[0]}: {node.op_type} is written as an Identity of "
                f"{source}, which {target.library} copies"
            )
            node.op_type = "Identity"
            node.input[:] = [source]
            del node.attribute[:]
    return model.changed(proto, lines)


def _branches(proto: "onnx.ModelProto") -> "list[onnx.GraphProto]":
    nodes = [node for node in all_nodes(proto) if node.op_type == "If"]
    return [branch for node in nodes for branch in subgraphs(node)]


def _last_views(branch: "onnx.GraphProto") -> "list[onnx.NodeProto]":
    """Return the nodes, Identity aside, that reshape a tensor to an output of the branch."""
    outputs = {output.name for output in branch.output}
    return [
        node
        for node in branch.node
        if node.op_type in _VIEWS and node.op_type != "Identity" and node.output[0] in outputs
    ]


def _unchanged(branch: "onnx.GraphProto", facts: TensorInfo) -> "list[tuple[onnx.NodeProto, str]]":
    """Return the nodes whose output has the shape of their source, with its name."""
    makers = {output: node for node in branch.node for output in node.output}
    unchanged = []
    for node in _last_views(branch):
        source, shape = node.input[0], _shape(node.output[0], makers, facts)
        while source in makers and makers[source].op_type in _VIEWS:
            source = makers[source].input[0]
        if shape is not None and _shape(source, makers, facts) == shape:
            unchanged.append((node, source))
    return unchanged


def _shape(
    name: str, makers: "Mapping[str, onnx.NodeProto]", facts: TensorInfo
) -> list[int] | None:
    """Return a shape if all of it is known; ONNX's inference ignores a branch's outer constants."""
    known = facts.shape(name)
    if known is not None and None not in known:
        return [size or 0 for size in known]
    node = makers.get(name)
    if node is None or node.op_type not in _VIEWS:
        return None
    source = _shape(node.input[0], makers, facts)
    if source is None or node.op_type == "Identity":
        return source
    if node.op_type == "Flatten":
        axis = attribute(node, "axis", 1)
        return [prod(source[:axis]), prod(source[axis:])]
    constant = facts.constant(input_name(node, 1))
    values = attribute(node, "axes", None) if constant is None else constant.ravel().tolist()
    if node.op_type == "Reshape":
        if values is None or attribute(node, "allowzero", 0):
            return None
        sizes = [source[i] if v == 0 and i < len(source) else v for i, v in enumerate(values)]
        rest = prod(size for size in sizes if size != -1)
        return [prod(source) // max(rest, 1) if size == -1 else size for size in sizes]
    if node.op_type == "Squeeze":
        rank = len(source)
        axes = [i for i in range(rank) if source[i] == 1] if values is None else values
        axes = [axis % rank for axis in axes]
        return [size for i, size in enumerate(source) if i not in axes]
    if values is None:
        return None
    rank = len(source) + len(values)
    axes = [axis % rank for axis in values]
    if len(set(axes)) != len(axes):
        return None
    rest_of = iter(source)
    return [1 if i in axes else next(rest_of) for i in range(rank)]
