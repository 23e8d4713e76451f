"""Write operators on quantized tensors as the same on dequantized ones, between QDQ pairs.

TensorRT knows quantization by QuantizeLinear and DequantizeLinear alone. QLinearConv and
QLinearMatMul, and those that ONNX Runtime adds in its format QOperator (com.microsoft), say the
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
    """Replace them by DequantizeLinear, an operator of floats, and QuantizeLinear."""
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


def _dequantized(writer: Writer, names: "list[str]", axis: int = 1) -> str:
    """Dequantize a tensor, given with its scale and its zero point."""
    return writer.node("DequantizeLinear", *filter(None, names), axis=axis)


def _quantized(
    node: "onnx.NodeProto", writer: Writer, tensor: str, scale: str, zero_point: str
) -> None:
    """Quantize a node's result."""
    names = [tensor, scale]
    if zero_point:
        names.append(zero_point)
    writer.node("QuantizeLinear", *names, output=node.output[0])


def _bias(writer: Writer, bias: str, scales: "list[str]") -> str:
    """Return a bias of int32 in the product of two scales."""
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
    inputs = [_dequantized(writer, x), _dequantized(writer, w, 0)]
    if bias := input_name(node, 8):
        inputs.append(_bias(writer, bias, [x[1], w[1]]))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    _quantized(node, writer, writer.node("Conv", *inputs, **attributes), *node.input[6:8])


def _matrix_product(node: "onnx.NodeProto", writer: Writer) -> None:
    left = _dequantized(writer, list(node.input[:3]), -2)
    right = _dequantized(writer, list(node.input[3:6]), -1)
    _quantized(node, writer, writer.node("MatMul", left, right), *node.input[6:8])


def _gemm(node: "onnx.NodeProto", writer: Writer) -> None:
    """QGemm: its bias is in steps of alpha, both scales together; without a scale it gives floats.

    Weights have a scale for each of their columns, or one.
    """
    alpha = float(attribute(node, "alpha", 1.0))
    trans_a, trans_b = (int(attribute(node, name, 0)) for name in ("transA", "transB"))
    a, b = list(node.input[:3]), list(node.input[3:6])
    left, right = _dequantized(writer, a), _dequantized(writer, b, 0 if trans_b else 1)
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
        _quantized(node, writer, result or product, scale, input_name(node, 8))


def _of_two(operator: str) -> "_Rule":
    def rule(node: "onnx.NodeProto", writer: Writer) -> None:
        operands = [_dequantized(writer, list(node.input[i : i + 3])) for i in (0, 3)]
        names = [input_name(node, i) for i in (6, 7)]
        _quantized(node, writer, writer.node(operator, *operands), names[0], names[1])

    return rule


def _of_one(operator: str) -> "_Rule":
    """Of an operator with one input, whose attributes are ONNX's, or one more than those."""

    def rule(node: "onnx.NodeProto", writer: Writer) -> None:
        from onnx import helper

        own = ("channels_last", "opset")
        attributes = {
            a.name: helper.get_attribute_value(a) for a in node.attribute if a.name not in own
        }
        tensor = _dequantized(writer, list(node.input[:3]))
        is_last = int(attribute(node, "channels_last", 0))
        rank = writer.rank(node.input[0]) if is_last else 0
        if is_last:
            tensor = writer.node("Transpose", tensor, perm=[0, rank - 1, *range(1, rank - 1)])
        result = writer.node(operator, tensor, **attributes)
        if is_last:
            result = writer.node("Transpose", result, perm=[0, *range(2, rank), 1])
        _quantized(node, writer, result, node.input[3], input_name(node, 4))

    return rule


def _concatenation(node: "onnx.NodeProto", writer: Writer) -> None:
    """QLinearConcat: the result's scale and zero point, then three inputs for each tensor."""
    parts = [
        _dequantized(writer, list(node.input[i : i + 3])) for i in range(2, len(node.input), 3)
    ]
    result = writer.node("Concat", *parts, axis=int(attribute(node, "axis", 1)))
    _quantized(node, writer, result, *node.input[:2])


def _in_onnxs_domain(node: "onnx.NodeProto", writer: Writer) -> None:
    """Rewrite as the equivalent operator of ONNX's domain."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.domain = ""
    writer.nodes.append(copy)


_ONNX: "Mapping[str, _Rule]" = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _matrix_product,
}
_MICROSOFT: "Mapping[str, _Rule]" = {
    "QuantizeLinear": _in_onnxs_domain,
    "DequantizeLinear": _in_onnxs_domain,
    "QLinearConv": _convolution,
    "QLinearAdd": _of_two("Add"),
    "QLinearMul": _of_two("Mul"),
    "QLinearSigmoid": _of_one("Sigmoid"),
    "QLinearLeakyRelu": _of_one("LeakyRelu"),
    "QLinearSoftmax": _of_one("Softmax"),
    "QLinearAveragePool": _of_one("AveragePool"),
    "QLinearGlobalAveragePool": _of_one("GlobalAveragePool"),
    "QLinearConcat": _concatenation,
    "QGemm": _gemm,
}
