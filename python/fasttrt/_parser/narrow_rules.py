"""Rewrite operators on integers of 8 or 16 bits in float32, see `narrow_integers`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from fasttrt._parser.node_rules import attribute, copy_node, input_name
from fasttrt._parser.quantization_writer import (
    FLOAT,
    INT32,
    INT64,
    RANGES,
    UnwritableError,
    Writer,
    fold_dequantization,
    quantize,
)

if TYPE_CHECKING:
    import onnx


class Context(Protocol):
    """Give a rule the model's tensors in float32, and a writer for new nodes."""

    writer: Writer

    def is_promoted(self, name: str) -> bool:
        """Return whether a tensor becomes float32."""

    def float32(self, name: str) -> str:
        """Return the float32 tensor that replaces an integer one, promoted or constant."""


NarrowRule: TypeAlias = "Callable[[onnx.NodeProto, Context], None]"


def _move(node: "onnx.NodeProto", context: Context) -> None:
    """Copy a node with its tensors in float32."""
    if node.op_type == "Resize" and attribute(node, "mode", b"nearest") != b"nearest":
        raise UnwritableError("interpolation between integers")
    if attribute(node, "reduction", b"none") not in (b"none", b"max", b"min"):
        raise UnwritableError("a sum of integers, which may overflow")
    if node.op_type == "MaxPool" and len(node.output) > 1:
        raise UnwritableError("indices")
    copy = copy_node(node)
    copy.name = node.name or context.writer.facts.unused(f"{node.output[0]}/{node.op_type}")
    for names in (copy.input, copy.output):
        for index, name in enumerate(names):
            if context.is_promoted(name):
                names[index] = context.float32(name)
    context.writer.nodes.append(copy)


def _wrap(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite arithmetic, which wraps around on overflow."""
    writer, dtype = context.writer, context.writer.facts.dtype(node.output[0])
    if node.op_type == "Mul" and RANGES[dtype][1] > 255:
        raise UnwritableError("float32 does not represent the product exactly")
    inputs = list(map(context.float32, node.input))
    writer.wrap(writer.node(node.op_type, *inputs), dtype, context.float32(node.output[0]))


def _divide(node: "onnx.NodeProto", context: Context) -> None:
    """Divide integers. Adding 0.5 to the dividend makes rounding of the quotient harmless."""
    writer = context.writer
    if RANGES[writer.facts.dtype(node.output[0])][0]:
        raise UnwritableError("a quotient of signed integers")
    dividend, divisor = map(context.float32, node.input)
    more = writer.node("Add", dividend, writer.constant(0.5))
    writer.node("Floor", writer.node("Div", more, divisor), output=context.float32(node.output[0]))


def _cast(node: "onnx.NodeProto", context: Context) -> None:
    """Cast to or from a narrow type, or both."""
    writer, source, target = context.writer, node.input[0], node.output[0]
    from_type, to_type = writer.facts.dtype(source), writer.facts.dtype(target)
    if to_type not in RANGES:
        writer.node("Cast", context.float32(source), output=target, to=to_type)
        return
    low, high = RANGES[to_type]
    is_boolean = from_type == 9
    least, most = (0, 1) if is_boolean else RANGES.get(from_type, (low - 1, high + 1))
    if context.is_promoted(source):
        value = context.float32(source)
    elif is_boolean:
        value = writer.node("Cast", source, to=FLOAT)
    else:  # toward zero and modulo the range, as casts to integers are
        whole = writer.node("Cast", source, to=INT64)
        size = writer.constant(high - low + 1, np.int64)
        if low:
            whole = writer.node("Sub", whole, writer.constant(low, np.int64))
        whole = writer.node("Mod", whole, size)
        if low:
            whole = writer.node("Add", whole, writer.constant(low, np.int64))
        writer.node("Cast", whole, output=context.float32(target), to=FLOAT)
        return
    if low <= least and most <= high:
        writer.node("Identity", value, output=context.float32(target))
    else:
        writer.wrap(value, to_type, context.float32(target))


def _fill(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite ConstantOfShape."""
    from onnx import numpy_helper

    value = numpy_helper.to_array(attribute(node, "value", None))
    tensor = numpy_helper.from_array(value.astype(np.float32))
    context.writer.node(
        "ConstantOfShape", node.input[0], output=context.float32(node.output[0]), value=tensor
    )


def _quantize(node: "onnx.NodeProto", context: Context) -> None:
    writer, zero_point = context.writer, input_name(node, 2)
    if attribute(node, "block_size", 0):
        raise UnwritableError("blocks of scales")
    quantize(
        writer,
        node.input[0],
        writer.as_float(node.input[1]),
        context.float32(zero_point) if zero_point else "",
        RANGES[writer.facts.dtype(node.output[0])],
        context.float32(node.output[0]),
        int(attribute(node, "axis", 1)),
    )


def dequantize(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite DequantizeLinear, of int32 as well."""
    from onnx import helper

    writer, facts = context.writer, context.writer.facts
    tensor, scale, zero_point = (input_name(node, index) for index in range(3))
    output_type = int(attribute(node, "output_dtype", 0)) or facts.dtype(scale) or FLOAT
    values = [writer.value(name) if name else None for name in (tensor, scale, zero_point)]
    if values[0] is not None and values[1] is not None:
        if zero_point and values[2] is None:
            raise UnwritableError("a computed zero point of constants")
        dtype = helper.tensor_dtype_to_np_dtype(output_type)
        folded = fold_dequantization(node, values).astype(dtype)
        writer.node("Identity", writer.constant(folded, dtype), output=node.output[0])
        return
    if attribute(node, "block_size", 0):
        raise UnwritableError("blocks of scales")
    axis = int(attribute(node, "axis", 1))
    if context.is_promoted(tensor):
        steps = context.float32(tensor)
    else:
        steps = writer.node("Cast", tensor, to=FLOAT)
    if zero_point and not (values[2] is not None and not values[2].any()):
        zeros = context.float32(zero_point) if facts.dtype(zero_point) in RANGES else zero_point
        steps = writer.node("Sub", steps, writer.along(writer.as_float(zeros), axis, tensor))
    factor = writer.along(writer.as_float(scale), axis, tensor)
    output = "" if output_type != FLOAT else node.output[0]
    result = writer.node("Mul", steps, factor, output=output)
    if not output:
        writer.node("Cast", result, output=node.output[0], to=output_type)


def _quantize_by_range(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite DynamicQuantizeLinear: the range of the values and 0 is mapped to 0 to 255."""
    writer, tensor = context.writer, node.input[0]
    zero, most = writer.constant(0.0), writer.constant(255.0)
    low = writer.node("Min", writer.node("ReduceMin", tensor, keepdims=0), zero)
    high = writer.node("Max", writer.node("ReduceMax", tensor, keepdims=0), zero)
    scale = writer.node("Div", writer.node("Sub", high, low), most)
    is_empty = writer.node("Equal", scale, zero)
    outputs = [*node.output, "", ""][:3]
    scale = writer.node("Where", is_empty, writer.constant(1.0), scale, output=outputs[1])
    shift = writer.node("Round", writer.node("Div", writer.node("Sub", zero, low), scale))
    limited = writer.node("Min", writer.node("Max", shift, zero), most)
    result = writer.node("Round", writer.node("Div", tensor, scale))
    result = writer.node("Max", writer.node("Add", result, limited), zero)
    writer.node("Min", result, most, output=context.float32(outputs[0]))
    if outputs[2]:
        writer.node("Identity", limited, output=context.float32(outputs[2]))


def _centered(node: "onnx.NodeProto", context: Context, index: int, axis: int, shift: int) -> str:
    """Return an operand of a product of integers minus its zero point.

    The casts to int32 and back tell the conversion to 16 bits that sums of such values need more.
    """
    writer, tensor, zero_point = context.writer, node.input[index], input_name(node, shift)
    value = writer.value(tensor)
    result = context.float32(tensor)
    if zero_point:
        zeros = writer.value(zero_point)
        if zeros is None or zeros.any():
            result = writer.node(
                "Sub", result, writer.along(context.float32(zero_point), axis, tensor)
            )
    if value is not None:
        return result
    return writer.node("Cast", writer.node("Cast", result, to=INT32), to=FLOAT)


def _matrix_product(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite MatMulInteger, exactly as long as sums are below 2**24."""
    left = _centered(node, context, 0, -2, 2)
    right = _centered(node, context, 1, -1, 3)
    writer = context.writer
    writer.node("Cast", writer.node("MatMul", left, right), output=node.output[0], to=INT32)


def _convolution(node: "onnx.NodeProto", context: Context) -> None:
    """Rewrite ConvInteger, likewise."""
    from onnx import helper

    left = _centered(node, context, 0, 1, 2)
    right = _centered(node, context, 1, 0, 3)
    writer = context.writer
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    product = writer.node("Conv", left, right, **attributes)
    writer.node("Cast", product, output=node.output[0], to=INT32)


_MOVES = (
    "Transpose Reshape Flatten Squeeze Unsqueeze Slice Concat Split Gather GatherElements GatherND "
    "Expand Tile Identity Where DepthToSpace SpaceToDepth Pad Resize MaxPool GlobalMaxPool Max Min "
    "Clip Equal Less Greater LessOrEqual GreaterOrEqual ReduceMax ReduceMin ArgMax ArgMin TopK "
    "ScatterElements ScatterND ReverseSequence Compress Trilu CenterCropPad Relu Sign Shape Size"
)

INTEGER_PRODUCTS: Mapping[str, NarrowRule] = {
    "DynamicQuantizeLinear": _quantize_by_range,
    "MatMulInteger": _matrix_product,
    "ConvInteger": _convolution,
}
"""Operators that TensorRT does not have at all."""

RULES: Mapping[str, NarrowRule] = {
    **dict.fromkeys(_MOVES.split(), _move),
    **dict.fromkeys(("Add", "Sub", "Mul", "Neg", "Abs"), _wrap),
    "Div": _divide,
    "Cast": _cast,
    "ConstantOfShape": _fill,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": dequantize,
    **INTEGER_PRODUCTS,
}
"""By operator of ONNX's domain."""

ZERO_POINTS: Mapping[str, tuple[int, ...]] = {
    "QuantizeLinear": (2,),
    "DequantizeLinear": (2,),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
}
"""By operator, the inputs that are zero points."""
