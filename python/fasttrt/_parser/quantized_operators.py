"""Rewrite operators on quantized tensors as operators on floats between QDQ pairs.

TensorRT supports quantization by QuantizeLinear and DequantizeLinear only. QLinearConv,
QLinearMatMul, and those that ONNX Runtime adds in its QOperator format (com.microsoft) mean the
same: dequantize, compute, quantize.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.traversal import ONNX_DOMAINS, innermost_first, replace_all, with_inner
from fasttrt._graph.weights import allow_constants
from fasttrt._parser.node_rules import attribute, input_name
from fasttrt._parser.quantization_writer import Writer

if TYPE_CHECKING:
    import onnx

    from fasttrt._graph.model import OnnxModel
    from fasttrt._parser.pipeline import Target

MICROSOFT = "com.microsoft"
_Rule: TypeAlias = "Callable[[onnx.NodeProto, Writer], None]"


def write_quantized_operators(model: "OnnxModel", target: "Target") -> "OnnxModel":
    """Replace operators on quantized tensors by DequantizeLinear, a float one, QuantizeLinear."""
    if not any(_rule_of(node) for node in with_inner(model.skeleton.graph.node)):
        return model
    proto = model.copy_skeleton()
    writer = Writer(TensorInfo(model), model.weights)
    counts = Counter[str]()
    for graph in innermost_first(proto.graph):
        writer.nodes = []
        for node in graph.node:
            rule = _rule_of(node)
            if rule is None:
                writer.nodes.append(node)
                continue
            writer.begin(node)
            rule(node, writer)
            counts[node.op_type] += 1
        replace_all(graph.node, writer.nodes)
    proto.graph.initializer.extend(writer.constants)
    allow_constants(proto)
    listed = ", ".join(f"{count} {operator}" for operator, count in sorted(counts.items()))
    return model.changed(proto, [f"written with QuantizeLinear and DequantizeLinear: {listed}"])


def _rule_of(node: "onnx.NodeProto") -> "_Rule | None":
    if node.domain in ONNX_DOMAINS:
        return _ONNX.get(node.op_type)
    return _MICROSOFT.get(node.op_type) if node.domain == MICROSOFT else None


def _dequantize(writer: Writer, names: "list[str]", axis: int = 1) -> str:
    """Dequantize a tensor, passed with its scale and zero point."""
    return writer.node("DequantizeLinear", *filter(None, names), axis=axis)


def _quantize(
    node: "onnx.NodeProto", writer: Writer, tensor: str, scale: str, zero_point: str
) -> None:
    """Quantize a node's output."""
    names = [tensor, scale]
    if zero_point:
        names.append(zero_point)
    writer.node("QuantizeLinear", *names, output=node.output[0])


def _bias(writer: Writer, bias: str, scales: "list[str]") -> str:
    """Dequantize an int32 bias, whose scale is the product of two."""
    values = [writer.value(name) for name in (bias, *scales)]
    steps, left, right = values
    if steps is not None and left is not None and right is not None:
        scale = left.astype("float32").reshape(-1) * right.astype("float32").reshape(-1)
        return writer.constant(steps.astype("float32") * scale)
    product = writer.node("Mul", *map(writer.as_float, scales))
    return writer.node("Mul", writer.node("Cast", bias, to=1), product)


def _convolution(node: "onnx.NodeProto", writer: Writer) -> None:
    from onnx import helper

    x, w = list(node.input[:3]), list(node.input[3:6])
    inputs = [_dequantize(writer, x), _dequantize(writer, w, 0)]
    if bias := input_name(node, 8):
        inputs.append(_bias(writer, bias, [x[1], w[1]]))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    _quantize(node, writer, writer.node("Conv", *inputs, **attributes), *node.input[6:8])


def _matrix_product(node: "onnx.NodeProto", writer: Writer) -> None:
    left = _dequantize(writer, list(node.input[:3]), -2)
    right = _dequantize(writer, list(node.input[3:6]), -1)
    _quantize(node, writer, writer.node("MatMul", left, right), *node.input[6:8])


def _gemm(node: "onnx.NodeProto", writer: Writer) -> None:
    """Rewrite QGemm, whose bias has both scales times alpha; without an output scale it is float.

    Weights have a scale for each column, or one.
    """
    alpha = float(attribute(node, "alpha", 1.0))
    trans_a, trans_b = (int(attribute(node, name, 0)) for name in ("transA", "transB"))
    a, b = list(node.input[:3]), list(node.input[3:6])
    left, right = _dequantize(writer, a), _dequantize(writer, b, 0 if trans_b else 1)
    product = writer.node("Gemm", left, right, alpha=alpha, transA=trans_a, transB=trans_b)
    scale, result = input_name(node, 7), ""
    output = "" if scale else node.output[0]
    if bias := input_name(node, 6):
        addend = _bias(writer, bias, [a[1], b[1]])
        if alpha != 1:
            addend = writer.node("Mul", addend, writer.constant(alpha))
        result = writer.node("Add", product, addend, output=output)
    elif output:
        result = writer.node("Identity", product, output=output)
    if scale:
        _quantize(node, writer, result or product, scale, input_name(node, 8))


def _binary(operator: str) -> "_Rule":
    def rule(node: "onnx.NodeProto", writer: Writer) -> None:
        operands = [_dequantize(writer, list(node.input[i : i + 3])) for i in (0, 3)]
        names = [input_name(node, i) for i in (6, 7)]
        _quantize(node, writer, writer.node(operator, *operands), names[0], names[1])

    return rule


def _unary(operator: str) -> "_Rule":
    """Return the rule of an operator with one input; some attributes are not ONNX's."""

    def rule(node: "onnx.NodeProto", writer: Writer) -> None:
        from onnx import helper

        added = ("channels_last", "opset")
        attributes = {
            a.name: helper.get_attribute_value(a) for a in node.attribute if a.name not in added
        }
        tensor = _dequantize(writer, list(node.input[:3]))
        is_last = int(attribute(node, "channels_last", 0))
        rank = writer.rank(node.input[0]) if is_last else 0
        if is_last:
            tensor = writer.node("Transpose", tensor, perm=[0, rank - 1, *range(1, rank - 1)])
        result = writer.node(operator, tensor, **attributes)
        if is_last:
            result = writer.node("Transpose", result, perm=[0, *range(2, rank), 1])
        _quantize(node, writer, result, node.input[3], input_name(node, 4))

    return rule


def _concatenation(node: "onnx.NodeProto", writer: Writer) -> None:
    """Rewrite QLinearConcat: the output's scale and zero point, then three inputs per tensor."""
    parts = [_dequantize(writer, list(node.input[i : i + 3])) for i in range(2, len(node.input), 3)]
    result = writer.node("Concat", *parts, axis=int(attribute(node, "axis", 1)))
    _quantize(node, writer, result, *node.input[:2])


def _to_onnx_domain(node: "onnx.NodeProto", writer: Writer) -> None:
    """Move to ONNX's domain, whose operator is the same."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.domain = ""
    writer.nodes.append(copy)


_ONNX: "Mapping[str, _Rule]" = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _matrix_product,
}
_MICROSOFT: "Mapping[str, _Rule]" = {
    "QuantizeLinear": _to_onnx_domain,
    "DequantizeLinear": _to_onnx_domain,
    "QLinearConv": _convolution,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearSoftmax": _unary("Softmax"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearConcat": _concatenation,
    "QGemm": _gemm,
}
