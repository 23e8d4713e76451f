"""Fold constants before TensorRT parses a model.

TensorRT's parser requires many parameters (axes, pads, sizes, the condition of an ``If``) to be
constants, and does not evaluate the nodes with which exporters compute them. onnxscript's folding
does. It gets the model's skeleton, so that no large weight is read or copied.
"""

from collections import Counter
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from fasttrt._common.log import logger
from fasttrt._common.optional_packages import require
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import ONNX_DOMAINS, all_nodes, subgraphs
from fasttrt._graph.weights import MAX_ELEMENTS, drop_weight_inputs

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_ROUNDS = 3
"""The number of rounds: folding the condition of an ``If`` exposes its branch to the next one."""

# Operators that define quantization, and random ones.
_NOT_FOLDED = {
    "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "Bernoulli", "Dropout",
    "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
}  # fmt: skip


def fold_constants(model: OnnxModel, target: object = None) -> OnnxModel:
    """Fold constants; return the model itself if there is nothing to fold.

    A model that has been changed (inputs made constant, dimensions fixed) is folded completely,
    with shape inference; others only if a node has nothing but constant inputs. Each change is
    added to the result's ``changes``, and logged.

    Raises:
        MissingPackageError: there is something to fold, and onnx-ir or onnxscript is missing.
    """
    if not (model.is_changed or _has_foldable(model.skeleton.graph)):
        return model
    # Before `try`: without them there would be another network, by the same key of the cache.
    require("folding the model's constants", "onnx_ir", "onnxscript")
    try:
        proto = _fold(model)
    except Exception as error:  # any class: TensorRT then gets the original model
        logger.warning("constants were not folded: %s", error)
        return model
    lines = _differences(model.skeleton, proto)
    return model.changed(proto, lines) if lines else model


def _has_foldable(graph: "onnx.GraphProto") -> bool:
    """Return whether a node of the graph or a subgraph has only small constants as inputs.

    For an ``If``, its condition counts. Constant nodes themselves are left to TensorRT.
    """
    constants = {t.name for t in graph.initializer if prod(t.dims) <= MAX_ELEMENTS}
    return _any_foldable(graph, constants)


def _any_foldable(graph: "onnx.GraphProto", constants: set[str]) -> bool:
    for node in graph.node:
        inner = list(subgraphs(node))
        if node.op_type == "Constant" and not node.domain:
            if not _is_large(node):
                constants.update(node.output)
        elif node.domain in ONNX_DOMAINS and node.op_type not in _NOT_FOLDED:
            inputs = [name for name in node.input if name]
            if inputs and constants.issuperset(inputs):
                return True
        for subgraph in inner:
            small = {t.name for t in subgraph.initializer if prod(t.dims) <= MAX_ELEMENTS}
            if _any_foldable(subgraph, constants | small):
                return True
    return False


def _is_large(node: "onnx.NodeProto") -> bool:
    return any(prod(attribute.t.dims) > MAX_ELEMENTS for attribute in node.attribute)


def _fold(model: OnnxModel) -> "onnx.ModelProto":
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants_ir

    light = _without_claims(model)
    graph = onnx_ir.from_proto(light)
    if model.path is not None:
        onnx_ir.external_data.set_base_dir(graph.graph, model.path.parent)
    for _ in range(_ROUNDS):
        result = fold_constants_ir(
            graph,
            onnx_shape_inference=True,
            input_size_limit=MAX_ELEMENTS,
            output_size_limit=MAX_ELEMENTS,
            should_fold=_should_fold,
        )
        RemoveUnusedNodesPass()(graph)
        if not result.modified:
            break
    proto = onnx_ir.to_proto(graph)
    for after, before in ((proto.graph.input, light.graph.input),
                          (proto.graph.output, model.skeleton.graph.output)):  # fmt: skip
        for ours, theirs in zip(after, before, strict=True):
            if ours.name != theirs.name:
                raise RuntimeError(f"folding renamed {theirs.name!r} to {ours.name!r}")
            ours.CopyFrom(theirs)
    return proto


def _should_fold(node: "onnx_ir.Node") -> bool | None:
    """Decide whether to fold a node; None leaves it to onnxscript."""
    constants = [value.const_value for value in node.inputs if value is not None]
    if not all(constant is None or _is_usable(constant) for constant in constants):
        return False
    if node.op_type in _NOT_FOLDED or _divides_by_zero(node):
        return False
    if any(value.is_graph_output() for value in node.outputs):
        return False  # TensorRT requires a node behind every output
    if len(node.outputs) > 1 or node.op_type.startswith("Sequence"):
        return False  # onnxscript folds none of them, and would warn
    if node.op_type == "ConstantOfShape" and constants[0] is not None:
        elements: int = prod(constants[0].numpy().tolist())
        return elements <= MAX_ELEMENTS  # onnxscript keeps them all
    return None


def _divides_by_zero(node: "onnx_ir.Node") -> bool:
    """Return whether a node divides integers by 0, or the minimum by -1: numpy does not fail."""
    if node.op_type not in ("Div", "Mod"):
        return False
    constant = node.inputs[1].const_value if node.inputs[1] is not None else None
    if constant is None or not constant.dtype.is_integer():
        return False
    return bool(np.isin(constant.numpy(), (0, -1)).any())


def _is_usable(constant: "onnx_ir.TensorProtocol") -> bool:
    """Return whether a constant is small and readable; the parser reports others by name."""
    if constant.size > MAX_ELEMENTS:
        return False
    try:
        constant.numpy()
    except Exception:
        return False
    return True


def _without_claims(model: OnnxModel) -> "onnx.ModelProto":
    """Copy the skeleton without declared shapes, which folding would rely on.

    In some files they are wrong. Inputs with an initializer are removed, too.
    """
    light = model.copy_skeleton()
    drop_weight_inputs(light)
    del light.graph.value_info[:]
    for output in light.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return light


def _differences(before: "onnx.ModelProto", after: "onnx.ModelProto") -> list[str]:
    """Describe the changes by folding: a line for each new constant, and one for all nodes."""
    old = {name: node.op_type for node in all_nodes(before) for name in node.output}
    known = {tensor.name for tensor in before.graph.initializer}
    lines = [
        f"{tensor.name}: the result of {old.get(tensor.name, 'a subgraph')} is a constant, "
        f"[{', '.join(map(str, tensor.dims))}]"
        for tensor in after.graph.initializer
        if tensor.name not in known
    ]
    had, has = (Counter(n.op_type for n in all_nodes(proto)) for proto in (before, after))
    for counts, what in ((had - has, "folded, or no longer needed"), (has - had, "inserted")):
        if counts:
            listed = ", ".join(f"{count} {operator}" for operator, count in sorted(counts.items()))
            lines.append(f"nodes {what}: {listed}")
    return lines
