"""What TensorRT 8.6's ONNX parser takes otherwise than ONNX means it, without a word.

It knows opsets up to 17, and of some operators not even that. It reads newer models all the same,
and leaves out the attributes and inputs that it does not know (its source: onnx-tensorrt,
release/8.6-EA, builtin_op_importers.cpp and ConditionalHelpers.cpp). What has an older form is
written so; the rest is refused. The later parsers get nearly all of this right or refuse it; by the
source of 10.1 not a Loop without a trip count, a ConvTranspose with an odd padding, and a
GlobalLpPool with an odd p.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fasttrt import _core
from fasttrt._log import logger
from fasttrt._nodes import subgraphs, with_inner
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


def written_for(model: OnnxModel, library: _core.Library) -> OnnxModel:
    """The model as the library's parser reads it rightly; itself if it does so anyway.

    Args:
        model: to be parsed: its constants folded, and converted.
        library: only TensorRT 8.6 is in need of it.

    Raises:
        ParseError: names the nodes of which there is no older form.
    """
    return written_for_v8(model, str(library)) if library.generation == "v8" else model


def written_for_v8(model: OnnxModel, library: str) -> OnnxModel:
    """The same for TensorRT 8.6, whose name for messages is given."""
    # Of local functions its parser knows nothing, so they are refused.
    nodes = list(with_inner(model.proto.graph.node))
    if not any(_look_for(node) for node in nodes):
        return model
    facts = _Facts(model.proto)
    found = [(node, _replacement(node, facts)) for node in nodes]
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
    for graph in _graphs(proto):
        for index in reversed(range(len(graph.node))):
            steps = _replacement(graph.node[index], facts)
            if not isinstance(steps, list):
                continue
            node = graph.node.pop(index)
            for step in reversed(steps):
                graph.node.insert(index, step)
            name = node.name or node.output[0]
            lines.append(f"{name}: written as an older {node.op_type}, as {library} knows no other")
    return model.changed(proto, lines)


def _graphs(proto: "onnx.ModelProto") -> "list[onnx.GraphProto]":
    inner = (graph for node in with_inner(proto.graph.node) for graph in subgraphs(node))
    return [proto.graph, *inner]


class _Facts:
    """What a model says of its tensors.

    Of a name that several graphs use, such as the branches of an If, only what is the same in all.
    """

    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        graphs = _graphs(proto)
        uses = Counter[str]()
        for graph in graphs:
            uses.update({tensor.name for tensor in (*graph.initializer, *graph.input)})
            uses.update(output for node in graph.node for output in node.output if output)
        self._names = set(uses)
        self._ambiguous = {name for name, count in uses.items() if count > 1}
        self._weights = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for name, value in _constants(graphs):
            found.setdefault(name, []).append(value)
        self._constants = {
            name: values[0]
            for name, values in found.items()
            if len(values) == uses[name] and all(np.array_equal(v, values[0]) for v in values)
        }
        self._shapes: dict[str, list[int | None]] | None = None

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """A small one, from the file itself."""
        return self._constants.get(name)

    def is_true(self, name: str) -> bool:
        value = self.constant(name)
        return value is not None and bool(value.all())

    def weight(self, name: str) -> "onnx.TensorProto | None":
        return None if name in self._ambiguous else self._weights.get(name)

    def shape(self, name: str) -> list[int | None] | None:
        if self._shapes is None:
            self._shapes = _shapes(self._proto)
        if name in self._ambiguous:
            return None
        weight = self._weights.get(name)
        return list(weight.dims) if weight is not None else self._shapes.get(name)

    def unused(self, name: str) -> str:
        """A name like this one."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _constants(graphs: "list[onnx.GraphProto]") -> "Iterator[tuple[str, npt.NDArray[Any]]]":
    """Small ones. External data is not read."""
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    def is_readable(tensor: "onnx.TensorProto") -> bool:
        small = np.prod(tensor.dims, dtype=np.int64) <= _MOST_ELEMENTS
        is_inside = tensor.data_location != TensorProto.EXTERNAL
        return bool(small) and is_inside and tensor.data_type != TensorProto.UNDEFINED

    for graph in graphs:
        for tensor in filter(is_readable, graph.initializer):
            yield tensor.name, to_array(tensor)
        for node in graph.node:
            if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
                continue
            for attribute in node.attribute:
                if attribute.name == "value" and is_readable(attribute.t):
                    yield node.output[0], to_array(attribute.t)
                elif attribute.name == "value_int":
                    yield node.output[0], np.array(attribute.i)
                elif attribute.name == "value_ints":
                    yield node.output[0], np.array(attribute.ints, np.int64)


def _shapes(proto: "onnx.ModelProto") -> dict[str, list[int | None]]:
    """As far as ONNX infers them; those that files state are not always right."""
    from onnx.shape_inference import infer_shapes

    from fasttrt.precision.weights import without_weights

    copy = without_weights(proto)
    for graph in _graphs(copy):
        del graph.value_info[:]
    try:
        copy = infer_shapes(copy)
    except Exception as error:  # of several classes; a node that needs them is refused then
        logger.debug("no shapes were inferred: %s", error)
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in value.type.tensor_type.shape.dim
        ]
        for graph in _graphs(copy)
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _look_for(node: "onnx.NodeProto") -> "Callable[[onnx.NodeProto, _Facts], Replacement] | None":
    return _LOOKS.get(node.op_type) if node.domain in ("", "ai.onnx") else None


def _replacement(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    look = _look_for(node)
    return look(node, facts) if look is not None else None


def _attribute(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _input(node: "onnx.NodeProto", index: int) -> str:
    """Its name; empty if it is left out."""
    return node.input[index] if len(node.input) > index else ""


def _copy(node: "onnx.NodeProto", inputs: int | None = None, **attributes: Any) -> "onnx.NodeProto":
    """The node with its first inputs and other values of attributes; None: without one."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if inputs is not None:
        del copy.input[inputs:]
    kept = [a for a in node.attribute if a.name not in attributes]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(
        onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None
    )
    return copy


def _constant_node(output: str, value: Any, name: str = "") -> "onnx.NodeProto":
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.array(value, np.int64), output)
    return helper.make_node("Constant", [], [output], name or f"{output}_constant", value=tensor)


def _constant(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Integers that are attributes of their own are read as floats, which are not there."""
    for name in ("value_int", "value_ints"):
        value = _attribute(node, name, None)
        if value is not None:
            return [_constant_node(node.output[0], value, node.name)]
    return None


def _empty_reduction(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """A reduction over no axes that shall leave its input alone is taken for one over all."""
    if not _attribute(node, "noop_with_empty_axes", 0) or _attribute(node, "axes", None):
        return None
    name = _input(node, 1)
    axes = facts.constant(name)
    if name and (axes is None or axes.size > 0):
        return None
    return "noop_with_empty_axes=1 without axes is taken for a reduction over all of them"


def _sum(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Its axes are read, or refused, but for an empty list, which means all."""
    if problem := _empty_reduction(node, facts):
        return problem
    axes = facts.constant(_input(node, 1))
    return [_copy(node, inputs=1)] if axes is not None and axes.size == 0 else None


def _reduction(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 18 axes are an input; before, they were an attribute."""
    if problem := _empty_reduction(node, facts):
        return problem
    if not _input(node, 1):
        return None
    axes = facts.constant(node.input[1])
    if axes is None:
        return "its axes are not a constant of the file itself, and would be left out"
    values = axes.ravel().tolist() or None
    return [_copy(node, inputs=1, noop_with_empty_axes=None, axes=values)]


def _shape(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 15 it may be of some axes."""
    from onnx import helper

    start, end = _attribute(node, "start", 0), _attribute(node, "end", None)
    if start == 0 and end is None:
        return None
    output = node.output[0]
    whole, first, last = (facts.unused(f"{output}_{part}") for part in ("whole", "start", "end"))
    shape = _copy(node, start=None, end=None)
    shape.output[0] = whole
    cut = helper.make_node("Slice", [whole, first, last], [output], f"{node.name or output}_part")
    ends = [_INT32_MAX if end is None else end]
    return [_constant_node(first, [start]), _constant_node(last, ends), shape, cut]


def _split(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Since opset 18 the last part may be smaller; it would be cut short like the others."""
    if not _attribute(node, "num_outputs", 0) or _input(node, 1):
        return None
    count = len(node.output)
    shape, axis = facts.shape(node.input[0]), _attribute(node, "axis", 0)
    extent = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if extent is None:
        return "the extent that it splits is not known, and has to be, as it may leave a remainder"
    part = ceil(extent / count)
    last = extent - part * (count - 1)
    if last < 0:
        return f"an extent of {extent} has no {count} parts of {part}"
    if part == last:
        return [_copy(node, inputs=1)] if len(node.input) > 1 else None
    sizes = facts.unused(f"{node.output[0]}_sizes")
    older = _copy(node, inputs=1, num_outputs=None)
    older.input.append(sizes)
    return [_constant_node(sizes, [part] * (count - 1) + [last]), older]


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
    policy = _attribute(node, "keep_aspect_ratio_policy", b"stretch")
    if policy != b"stretch" and _input(node, 3):
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


def _global_lp_pool(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    if _attribute(node, "p", 2) % 2 == 0:
        return None
    return "with an odd p, signs would count"


def _space_to_depth(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    mode = _attribute(node, "mode", b"DCR").decode()
    return None if mode == "DCR" else f'mode="{mode}" would be left out'


def _instance_normalization(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    from onnx import TensorProto

    weights = [facts.weight(name) for name in node.input[1:3]]
    if any(w is not None and w.data_type == TensorProto.FLOAT16 for w in weights):
        return "its float16 weights would be read as float32"
    return None


def _recurrent(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    if len(_attribute(node, "activations", [])) < 2:
        return None
    for name in ("activation_alpha", "activation_beta"):
        if _attribute(node, name, []):
            return f"{name} would be given to other activations"
    return None


def _transposed_convolution(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Padding that follows from the shape of the output is written out.

    An odd one goes to the wrong side otherwise. The formula is that of ONNX's ConvTranspose.
    """
    auto_pad = _attribute(node, "auto_pad", b"NOTSET").decode()
    wanted = _attribute(node, "output_shape", None)
    if wanted is None:
        if auto_pad.startswith("SAME") and any(_attribute(node, "output_padding", [])):
            return f'output_padding would be left out with auto_pad="{auto_pad}"'
        return None
    shape, kernel = facts.shape(node.input[0]), facts.shape(node.input[1])
    if shape is None or kernel is None or None in (*shape[2:], *kernel[2:]):
        return "output_shape wants extents that are known"
    axes = len(shape) - 2
    wanted = wanted[-axes:]
    kernel = _attribute(node, "kernel_shape", kernel[2:])
    ones, zeros = [1] * axes, [0] * axes
    strides, dilations, extra = (
        _attribute(node, name, default)
        for name, default in (("strides", ones), ("dilations", ones), ("output_padding", zeros))
    )
    total = [
        strides[i] * ((shape[2 + i] or 0) - 1)
        + extra[i]
        + (kernel[i] - 1) * dilations[i]
        + 1
        - wanted[i]
        for i in range(axes)
    ]
    if min(total) < 0:
        return "output_shape wants more than there is without padding"
    least, most = [t // 2 for t in total], [t - t // 2 for t in total]
    pads = least + most if auto_pad == "SAME_UPPER" else most + least
    return [_copy(node, output_shape=None, auto_pad=None, pads=pads)]


def _if(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """Its parser keeps the tensors that leave a branch in a hash table, in no order."""
    if len(node.output) < 2 or facts.constant(node.input[0]) is not None:
        return None
    return (
        f"its {len(node.output)} outputs would come in any order; fix its condition (freeze=), or "
        "write an If for each"
    )


def _loop(node: "onnx.NodeProto", facts: _Facts) -> Replacement:
    """What is collected has the length of the trip count, whether or not the loop ends earlier."""
    collected = len(node.output) - max(len(node.input) - 2, 0)
    if collected <= 0:
        return None
    (body,) = subgraphs(node)
    condition = body.output[0].name
    makers = {output: inner for inner in body.node for output in inner.output}
    while condition in makers and makers[condition].op_type == "Identity":
        condition = makers[condition].input[0]
    goes_on = facts.is_true(condition) or condition == body.input[1].name
    begins = not _input(node, 1) or facts.is_true(node.input[1])
    if _input(node, 0) and goes_on and begins:
        return None
    return "what it collects would not have the length of the turns made, as it may end early"


_REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
_LOOKS: "dict[str, Callable[[onnx.NodeProto, _Facts], Replacement]]" = {
    **{f"Reduce{kind}": _reduction for kind in _REDUCTIONS},
    "ReduceSum": _sum,
    "ReduceLogSum": _sum,
    "Constant": _constant,
    "Shape": _shape,
    "Split": _split,
    "GridSample": _grid_sample,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "LpPool": _lp_pool,
    "GlobalLpPool": _global_lp_pool,
    "SpaceToDepth": _space_to_depth,
    "InstanceNormalization": _instance_normalization,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "ConvTranspose": _transposed_convolution,
    "If": _if,
    "Loop": _loop,
}
