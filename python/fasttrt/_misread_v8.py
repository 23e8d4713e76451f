"""What TensorRT 8.6's ONNX parser takes otherwise than ONNX means it, without a word.

It knows opsets up to 17, and of some operators not even that. It reads newer models all the same,
and leaves out the attributes and inputs that it does not know (its source: onnx-tensorrt,
release/8.6-EA, builtin_op_importers.cpp and ConditionalHelpers.cpp). What has an older form is
written so; the rest is refused. The later parsers get all of this right or refuse it themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fasttrt._log import logger
from fasttrt._nodes import all_nodes, subgraphs
from fasttrt.errors import ParseError, ParseIssue
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    import onnx

_LATEST = 17
_MOST_ELEMENTS = 64
"""Of a constant that is read here: axes."""
_INT32_MAX = 2**31 - 1

Replacement: TypeAlias = "list[onnx.NodeProto] | str | None"
"""What to write for a node; or why it cannot be given to the parser; None: it is read as it is."""


def warn_of_opset(model: OnnxModel, library: str) -> None:
    """Log that a model is newer than TensorRT 8.6's parser."""
    opsets = [o.version for o in model.proto.opset_import if o.domain in ("", "ai.onnx")]
    if max(opsets, default=0) > _LATEST:
        logger.warning(
            "the model is of ONNX's opset %d, and %s knows up to %d. What it is known to misread "
            "is written otherwise or refused; fasttrt compare tells whether its answers are right",
            max(opsets), library, _LATEST,
        )  # fmt: skip


def written_for_v8(model: OnnxModel, library: str) -> OnnxModel:
    """The model as TensorRT 8.6 reads it rightly; itself if it does so anyway.

    Args:
        model: to be parsed, its constants folded.
        library: its name, for messages.

    Raises:
        ParseError: names the nodes of which there is no older form.
    """
    facts = _Facts(model.proto)
    found = [(node, _replacement(node, facts)) for node in all_nodes(model.proto)]
    if all(replacement is None for _, replacement in found):
        return model
    original = {tuple(n.output): i for i, n in enumerate(model.original.proto.graph.node)}
    issues = [
        ParseIssue(original.get(tuple(node.output), -1), node.name, node.op_type, reason)
        for node, reason in found
        if isinstance(reason, str)
    ]
    if issues:
        raise ParseError(f"{library} cannot be given the model", tuple(issues))
    proto = model.copy_proto()
    lines = []
    for nodes in _node_lists(proto):
        for index in reversed(range(len(nodes))):
            steps = _replacement(nodes[index], facts)
            if not isinstance(steps, list):
                continue
            node = nodes.pop(index)
            for step in reversed(steps):
                nodes.insert(index, step)
            name = node.name or node.output[0]
            lines.append(f"{name}: written as an older {node.op_type}, as {library} knows no other")
    return model.changed(proto, lines)


class _Facts:
    """What a model says of its tensors."""

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        self._constants: dict[str, npt.NDArray[Any] | None] = {}
        self._shapes: dict[str, list[int | None]] | None = None
        for name, value in _constants(proto):
            known = self._constants.get(name, value)
            same = known is not None and np.array_equal(known, value)
            self._constants[name] = value if same else None  # of two branches, say

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        return self._constants.get(name)

    def shape(self, name: str) -> "list[int | None] | None":
        if self._shapes is None:
            self._shapes = dict(_shapes(self._proto))
        return self._shapes.get(name)


def _constants(proto: "onnx.ModelProto") -> "Iterator[tuple[str, npt.NDArray[Any]]]":
    """Small ones. External data is not read."""
    from onnx import TensorProto
    from onnx.helper import get_attribute_value
    from onnx.numpy_helper import to_array

    graphs = [proto.graph, *(graph for node in all_nodes(proto) for graph in subgraphs(node))]
    for tensor in (tensor for graph in graphs for tensor in graph.initializer):
        is_inside = tensor.data_location != TensorProto.EXTERNAL
        if is_inside and np.prod(tensor.dims, dtype=int) <= _MOST_ELEMENTS:
            yield tensor.name, to_array(tensor)
    for node in all_nodes(proto):
        if node.op_type != "Constant":
            continue
        for attribute in node.attribute:
            if attribute.name == "value" and np.prod(attribute.t.dims, dtype=int) <= _MOST_ELEMENTS:
                yield node.output[0], to_array(attribute.t)
            elif attribute.name in ("value_int", "value_ints"):
                yield node.output[0], np.array(get_attribute_value(attribute), np.int64)


def _shapes(proto: "onnx.ModelProto") -> "Iterator[tuple[str, list[int | None]]]":
    """As far as ONNX infers them."""
    import onnx
    from onnx.shape_inference import InferenceError, infer_shapes

    with suppress(InferenceError, ValueError, onnx.checker.ValidationError):
        proto = infer_shapes(proto)  # else what the model states itself is left
    graphs = [proto.graph, *(graph for node in all_nodes(proto) for graph in subgraphs(node))]
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                yield value.name, [d.dim_value if d.HasField("dim_value") else None for d in dims]


def _node_lists(proto: "onnx.ModelProto") -> "list[Any]":
    """The lists of nodes of a model and its inner graphs, to be changed in place."""
    lists: list[Any] = [proto.graph.node, *(function.node for function in proto.functions)]
    lists += [graph.node for node in all_nodes(proto) for graph in subgraphs(node)]
    return lists


def _replacement(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    look = _LOOKS.get(node.op_type)
    return look(node, facts) if look is not None and node.domain in ("", "ai.onnx") else None


def _attribute(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _copy(node: "onnx.NodeProto", **attributes: Any) -> "onnx.NodeProto":
    """The node with other values of attributes; None: without one."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = [a for a in node.attribute if a.name not in attributes]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(
        onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None
    )
    return copy


def _constant(name: str, values: list[int]) -> "onnx.NodeProto":
    from onnx import helper, numpy_helper

    value = numpy_helper.from_array(np.array(values, np.int64), name)
    return helper.make_node("Constant", [], [name], f"{name}_constant", value=value)


def _empty_reduction(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """A reduction over no axes that shall leave its input alone is taken for one over all."""
    if not _attribute(node, "noop_with_empty_axes", 0):
        return None
    axes = facts.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    given = len(node.input) > 1 and node.input[1] != ""
    if (given and axes is None) or (axes is not None and axes.size > 0):
        return None  # what is not a constant the parser refuses itself
    return "noop_with_empty_axes=1 without axes is taken for a reduction over all of them"


def _sum(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Its axes are read, but for an empty list, which means all."""
    if problem := _empty_reduction(node, facts):
        return problem
    axes = facts.constant(node.input[1]) if len(node.input) > 1 else None
    if axes is None or axes.size > 0:
        return None
    older = _copy(node)
    del older.input[1:]
    return [older]


def _reduction(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 18 axes are an input; before, they were an attribute."""
    if problem := _empty_reduction(node, facts):
        return problem
    if len(node.input) < 2 or not node.input[1]:
        return None
    axes = facts.constant(node.input[1])
    if axes is None:
        return "its axes are an input that is not a constant, which would be left out"
    older = _copy(node, noop_with_empty_axes=None, axes=axes.ravel().tolist() or None)
    del older.input[1:]
    return [older]


def _shape(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 15 it may be of some axes."""
    start, end = _attribute(node, "start", 0), _attribute(node, "end", None)
    if start == 0 and end is None:
        return None
    output = node.output[0]
    whole, first, last = (f"{output}_{part}" for part in ("whole", "start", "end"))
    from onnx import helper

    shape = _copy(node, start=None, end=None)
    shape.output[0] = whole
    cut = helper.make_node("Slice", [whole, first, last], [output], f"{node.name or output}_part")
    ends = [_INT32_MAX if end is None else end]
    return [_constant(first, [start]), _constant(last, ends), shape, cut]


def _split(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 18 the last part may be smaller; it would be cut short like the others."""
    if not _attribute(node, "num_outputs", 0) or (len(node.input) > 1 and node.input[1]):
        return None
    count = len(node.output)
    shape, axis = facts.shape(node.input[0]), _attribute(node, "axis", 0)
    extent = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if extent is None:
        return "the extent that it splits is not known, and has to be, as it may leave a remainder"
    part = ceil(extent / count)
    if part * count == extent:
        return None
    name = f"{node.output[0]}_sizes"
    older = _copy(node, num_outputs=None)
    del older.input[1:]
    older.input.append(name)
    return [_constant(name, [part] * (count - 1) + [extent - part * (count - 1)]), older]


def _grid_sample(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Opset 20 renamed its modes, and what is not known is taken for "nearest".

    With more than two axes to sample TensorRT 8.6.0 ended the process (on an H100).
    """
    shape = facts.shape(node.input[0])
    if shape is not None and len(shape) != 4:
        return f"an input of rank {len(shape)}; TensorRT 8.6 samples images alone"
    mode = _attribute(node, "mode", b"").decode()
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode)
    return [_copy(node, mode=older)] if older is not None else None


def _resize(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """What opset 18 added."""
    if _attribute(node, "antialias", 0):
        return "antialias=1 would be left out"
    if _attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return "keep_aspect_ratio_policy would be left out"
    return "axes would be left out" if _attribute(node, "axes", []) else None


def _scatter(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Opset 16 added reductions."""
    reduction = _attribute(node, "reduction", b"none").decode()
    return None if reduction == "none" else f'reduction="{reduction}" would be left out'


def _lp_pool(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """What opset 18 added."""
    if any(dilation != 1 for dilation in _attribute(node, "dilations", [])):
        return "dilations would be left out"
    return "ceil_mode=1 would be left out" if _attribute(node, "ceil_mode", 0) else None


def _if(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Its parser keeps the tensors that leave a branch in a hash table, in no order."""
    if len(node.output) < 2 or facts.constant(node.input[0]) is not None:
        return None
    return (
        f"its {len(node.output)} outputs would come in any order; fix its condition (freeze=), or "
        "write an If for each"
    )


_REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
_LOOKS: "dict[str, Callable[[onnx.NodeProto, _Facts], Replacement]]" = {
    **{f"Reduce{kind}": _reduction for kind in _REDUCTIONS},
    "ReduceSum": _sum,
    "ReduceLogSum": _sum,
    "Shape": _shape,
    "Split": _split,
    "GridSample": _grid_sample,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "LpPool": _lp_pool,
    "If": _if,
}
