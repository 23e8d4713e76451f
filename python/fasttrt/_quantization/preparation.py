"""A float model made ready for the quantizer: in one piece, of a late enough opset, folded."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import ONNX_DOMAINS
from fasttrt._runtime import ort_session as _ort
from fasttrt.errors import InputError, ParseError, ParseIssue

if TYPE_CHECKING:
    import onnx

OPSET = 13
"""The first in which Q/DQ nodes have an axis, for weights by channel."""
_HALF_TYPES = ("FLOAT16", "BFLOAT16")


def whole(model: OnnxModel) -> "onnx.ModelProto":
    """A copy with its weights in it and a name for every node.

    Raises:
        InputError: it is quantized already, or in half precision, or too large.
    """
    import onnx

    if model.is_quantized:
        raise InputError(
            "the model is quantized already (it has QuantizeLinear or DequantizeLinear nodes); "
            "expected a float32 model"
        )
    copy = model.with_weights()
    for tensor in copy.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        if kind in _HALF_TYPES:
            raise InputError(
                f"{tensor.name}: expected a float32 model, got {kind} weights; quantize the model "
                "as it was before they were converted"
            )
    _fix_initializers(copy)
    _name_nodes(copy.graph)
    return copy


def _fix_initializers(model: "onnx.ModelProto") -> None:
    """Take weights off the inputs, where they count as variable and as nothing to fold."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # the first that allows it


def _name_nodes(graph: "onnx.GraphProto") -> None:
    """Give every node a name of its own."""
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


def opset_of(model: "onnx.ModelProto") -> int:
    """The version of ONNX's own operators that a model is written in."""
    return max((o.version for o in model.opset_import if o.domain in ONNX_DOMAINS), default=1)


def upgraded(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model in `OPSET` or later.

    Raises:
        InputError: ONNX's converter cannot bring it there.
    """
    import onnx.version_converter

    if opset_of(model) >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(converted)
    except Exception as error:  # of the converter's and the checker's own classes
        raise InputError(
            f"expected opset {OPSET} or later, which quantization by channel needs; this model of "
            f"opset {opset_of(model)} cannot be converted: {error}"
        ) from error
    return converted


def folded(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model with constants folded and batch normalization merged into convolutions.

    What is quantized has to be the weights that are multiplied in the end, and they have to be
    seen as such. ONNX Runtime's basic optimizations do that; they keep to ONNX's own operators.

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
                disabled=["MatMulAddFusion"],  # which gives nodes other names
            )
        except Exception as error:  # of classes that ONNX Runtime does not export
            issue = ParseIssue(-1, "", "", str(error))
            raise ParseError("ONNX Runtime cannot load the model", (issue,)) from error
        result = onnx.load(path)
    declared = {opset.domain for opset in model.opset_import}
    kept = [opset for opset in result.opset_import if opset.domain in declared]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    _name_nodes(result.graph)
    return onnx.shape_inference.infer_shapes(result)
