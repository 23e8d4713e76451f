"""Insertion of int8 Q/DQ nodes into an ONNX graph, as TensorRT requires them.

TensorRT's rules for explicit quantization: symmetric (zero point 0), weights per output channel,
Q/DQ at the inputs of nodes that compute in int8 and not at their outputs, so that bias, activation
and residual sum are fused into their kernel; biases stay float. Of a residual sum, the skip branch
is quantized, and the one from the convolution is not. Weights stay float in the file, followed by
Q/DQ, which all releases accept. Convolutions state their ``kernel_shape``, which ONNX otherwise
infers from the weight: the parser of TensorRT 8.6 does so only for constant weights, and does not
treat dequantized ones as constant.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._graph.traversal import with_inner
from fasttrt.errors import Error, InputError

if TYPE_CHECKING:
    import onnx

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""The operators that can be quantized: those with weights for which TensorRT has int8 kernels."""
_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "QDQDisableWeightAdjustForInt32Bias": True,
    "OpTypesToExcludeOutputQuantization": [*OPERATORS, "Add"],
}


@dataclass(frozen=True)
class Choice:
    """The nodes to quantize, by name."""

    weighted: tuple[str, ...]
    """Nodes with weights."""
    residual: dict[str, int]
    """Residual sums, with the index of the input that comes from a convolution and stays float."""
    excluded: frozenset[str]
    """Nodes that the caller excluded."""


def choose(
    graph: "onnx.GraphProto", operators: Collection[str], excluded: Collection[str]
) -> Choice:
    """Choose the nodes to quantize.

    Args:
        graph: the graph of a prepared model, whose nodes have unique names.
        operators: the operators to quantize, out of `OPERATORS`.
        excluded: the names of nodes to exclude.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    weighted = [
        node
        for node in graph.node
        if node.op_type in operators and node.name not in excluded and _has_channels(node, weights)
    ]
    order = {node.name: i for i, node in enumerate(weighted) if node.op_type == "Conv"}
    residual = {}
    for node in graph.node:
        if node.op_type != "Add" or node.name in excluded or weights.keys() & set(node.input):
            continue
        sources = [producers.get(name) for name in node.input]
        places = [order.get(source.name, -1) if source else -1 for source in sources]
        if max(places) >= 0 and node.input[0] != node.input[1]:
            residual[node.name] = places.index(max(places))
    return Choice(tuple(node.name for node in weighted), residual, frozenset(excluded))


def _has_channels(node: "onnx.NodeProto", weights: "dict[str, onnx.TensorProto]") -> bool:
    """Return whether a node multiplies an activation by a float32 weight with output channels."""
    import onnx

    weight = weights.get(node.input[1])
    if weight is None or node.input[0] in weights or weight.data_type != onnx.TensorProto.FLOAT:
        return False
    if node.op_type in ("Gemm", "MatMul"):
        return len(weight.dims) == 2
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return node.op_type == "Conv" or groups == 1  # otherwise the channels are not on one axis


def place(prepared: "onnx.ModelProto", ranges: Any, choice: Choice) -> "onnx.ModelProto":
    """Copy a model with Q/DQ nodes inserted.

    Args:
        prepared: the float model.
        ranges: ONNX Runtime's ``TensorsData``, for at least all inputs of the chosen nodes.
        choice: the nodes to quantize.

    Raises:
        Error: the quantizer violated one of TensorRT's rules.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(prepared)
    quantizer = QDQQuantizer(
        copy, True, False, QuantType.QInt8, QuantType.QInt8, ranges,
        [*choice.weighted, *choice.residual], [], [*OPERATORS, "Add"], dict(_OPTIONS),
    )  # fmt: skip
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    model: onnx.ModelProto = quantizer.model.model
    attributes = {node.name: node.attribute for node in prepared.graph.node}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in prepared.graph.initializer}
    weights = {n.name: n.input[1] for n in prepared.graph.node if n.name in choice.weighted}
    for node in model.graph.node:
        if (
            node.name in choice.weighted
        ):  # the quantizer sets Gemm's beta to 1, as for a quantized bias
            del node.attribute[:]
            node.attribute.extend(attributes[node.name])
            _state_kernel(node, shapes[weights[node.name]])
    _release_outputs(model.graph)
    sources = _float_sources(model.graph)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if node.name in choice.excluded or choice.residual.get(node.name) == i:
                node.input[i] = sources.get(name, name)
    _prune(model.graph)
    check_rules(model.graph)
    narrow = _float_sources(model.graph).keys()
    for node in model.graph.node:
        if node.name in choice.weighted and not narrow >= set(node.input[:2]):
            raise InputError(
                f"{node.name}: cannot be quantized, as the type of {node.input[0]} is unknown; "
                "use exclude="
            )
    onnx.checker.check_model(model)
    return model


def _state_kernel(node: "onnx.NodeProto", weight: tuple[int, ...]) -> None:
    """Add the ``kernel_shape`` to a convolution that lacks it, from the weight's shape."""
    from onnx import helper

    has_kernel = node.op_type in ("Conv", "ConvTranspose")
    if has_kernel and all(attribute.name != "kernel_shape" for attribute in node.attribute):
        node.attribute.append(helper.make_attribute("kernel_shape", weight[2:]))


def _release_outputs(graph: "onnx.GraphProto") -> None:
    """Restore the float values of the model's outputs that also feed quantized nodes."""
    outputs = {output.name for output in graph.output}
    sources = _float_sources(graph)
    for dequantized in [name for name in sources if name in outputs]:
        original, behind = sources[dequantized], f"{dequantized}_dequantized"
        renamed = {dequantized: behind, original: dequantized}
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]


def _float_sources(graph: "onnx.GraphProto") -> dict[str, str]:
    """Map each dequantized tensor to the one that was quantized."""
    producers = {name: node for node in graph.node for name in node.output}
    pairs = (
        (node.output[0], producers.get(node.input[0]))
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    )
    return {name: source.input[0] for name, source in pairs if source is not None}


def _prune(graph: "onnx.GraphProto") -> None:
    """Remove Q/DQ nodes and initializers that are no longer used."""
    while True:
        used = {name for node in with_inner(graph.node) for name in node.input}
        used |= {output.name for output in graph.output}
        dead = [
            node
            for node in graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear")
            and used.isdisjoint(node.output)
        ]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def check_rules(graph: "onnx.GraphProto") -> None:
    """Check that every scale is positive and finite, and every zero point an int8 0.

    Raises:
        Error: one is not; the message names the node.
    """
    from onnx.numpy_helper import to_array

    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = (to_array(values[name]) for name in node.input[1:3])
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise Error(f"{node.name}: expected positive, finite scales, got {scale}")
        if zero.dtype != np.int8 or zero.any():
            raise Error(f"{node.name}: expected int8 zero points of 0, got {zero.dtype} {zero}")


def find_excluded(
    original: "onnx.GraphProto", prepared: "onnx.GraphProto", exclude: Sequence[str]
) -> set[str]:
    """Find the nodes of the prepared graph that correspond to those named by the caller.

    Args:
        original: the caller's model.
        prepared: the model after folding, which may have merged nodes.
        exclude: names of nodes, or operators.

    Raises:
        InputError: a name is neither.
    """
    from difflib import get_close_matches

    if isinstance(exclude, str):
        raise InputError(f"exclude: expected a sequence of names, got the string {exclude!r}")
    known = {name for node in original.node for name in (node.name, node.op_type) if name}
    for name in exclude:
        if name not in known:
            near = get_close_matches(str(name), known, 3, 0.4)
            hint = f"; it has {', '.join(near)}" if near else ""
            raise InputError(f"exclude: the model has no node or operator {name!r}{hint}")
    chosen = set(exclude)
    outputs = {
        name
        for node in original.node
        if chosen & {node.name, node.op_type}
        for name in node.output
        if name
    }
    return {
        node.name
        for node in prepared.node
        if chosen & {node.name, node.op_type} or outputs & set(node.output)
    }
