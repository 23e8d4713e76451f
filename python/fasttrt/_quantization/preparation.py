"""Preparation of a float model for the quantizer: inline weights, a recent opset, folding."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.weights import allow_constants, drop_weight_inputs
from fasttrt._runtime import ort_session as _ort
from fasttrt.errors import InputError, ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

OPSET = 13
"""The first opset in which Q/DQ nodes have an axis, for per-channel weights."""
_HALF_TYPES = ("FLOAT16", "BFLOAT16")


def inline_weights(model: OnnxModel) -> "onnx.ModelProto":
    """Copy a model with all its weights in it and a name for every node.

    Raises:
        InputError: it is already quantized, in half precision, or too large.
    """
    import onnx

    if model.is_quantized:
        raise InputError(
            "the model is already quantized (it has QuantizeLinear or DequantizeLinear nodes); "
            "expected a float32 model"
        )
    copy = model.with_weights()
    for tensor in copy.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in _HALF_TYPES:
            raise InputError(
                f"{tensor.name}: expected a float32 model, got {kind} weights; quantize the "
                "original model, before its conversion"
            )
    drop_weight_inputs(copy)  # where they would be variable and not foldable
    allow_constants(copy)
    _name_nodes(copy.graph)
    return copy


def _name_nodes(graph: "onnx.GraphProto") -> None:
    """Give every node a unique name."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            name = f"{node.name or node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def upgrade_opset(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Convert a model to `OPSET`, unless it has a later one.

    Raises:
        InputError: ONNX's converter cannot convert it.
    """
    import onnx.version_converter

    if onnx_version(model.opset_import) >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(converted)
    except Exception as error:  # the converter's and the checker's own classes
        raise InputError(
            f"expected opset {OPSET} or later, which per-channel quantization needs; this model of "
            f"opset {onnx_version(model.opset_import)} cannot be converted: {error}"
        ) from error
    return converted


def optimize_for_quantization(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Fold constants, and merge batch normalization into convolutions.

    The quantizer must see the weights that are eventually multiplied, as constants. ONNX Runtime's
    basic optimizations do that, using only ONNX's own operators.

    Raises:
        ParseError: ONNX Runtime cannot load the model.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory(prefix="fasttrt-") as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        try:
            _ort.open_session(
                model.SerializeToString(),
                options,
                disabled=["MatMulAddFusion"],  # it renames nodes
            )
        except Exception as error:  # ONNX Runtime does not export their classes
            issue = ParseIssue(-1, "", "", str(error))
            raise ParseError("ONNX Runtime cannot load the model", (issue,)) from error
        result = onnx.load(path)
    declared = {opset.domain for opset in model.opset_import}
    kept = [opset for opset in result.opset_import if opset.domain in declared]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    _name_nodes(result.graph)
    return onnx.shape_inference.infer_shapes(result)
