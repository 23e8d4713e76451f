"""Models that TensorRT's parser refuses as they are: fasttrt writes them in another form."""
# ruff: noqa: E501  # a case a line

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx.parser import parse_model
from onnx.reference import ReferenceEvaluator

from support.models import Array


class FormCase(NamedTuple):
    """A model in ONNX's text form."""

    name: str
    text: str
    values: dict[str, Any] = {}  # noqa: RUF012  # is never changed
    """Inputs that need certain ones."""
    reference: Callable[..., Any] | None = None
    """Of the inputs by name, where neither ONNX Runtime nor ONNX's reference knows the opset."""

    @property
    def model(self) -> onnx.ModelProto:
        return parse_model(self.text)

    def inputs(self) -> dict[str, Array]:
        """Random inputs, the same in each call; integers of up to a thousand."""
        rng, found = np.random.default_rng(zlib.crc32(self.text.encode())), {}
        for tensor in self.model.graph.input:
            kind = tensor.type.tensor_type
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
            shape = [dim.dim_value for dim in kind.shape.dim]
            if tensor.name in self.values:
                array = np.asarray(self.values[tensor.name], dtype).reshape(shape)
            elif dtype.kind == "b":
                array = rng.random(shape) > 0.5
            elif dtype.kind in "iu":
                limits = np.iinfo(dtype)
                low, high = max(limits.min, -1000), min(limits.max, 1000)
                array = rng.integers(low, high, shape, endpoint=True).astype(dtype)
            else:
                array = np.asarray(rng.standard_normal(shape)).astype(dtype)
            found[tensor.name] = np.asarray(array)
        return found

    def expected(self) -> list[Array]:
        """The outputs, in order."""
        inputs = self.inputs()
        if self.reference is not None:
            return [np.asarray(self.reference(**inputs))]
        return run(self.model, inputs)


def run(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """A model's outputs by ONNX Runtime without its optimizations, or by ONNX's reference."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(None, inputs)
    except Exception:  # of several classes: it lacks an operator, or a type of one
        results = ReferenceEvaluator(model).run(None, dict(inputs))
    return [np.asarray(result) for result in results]


def _case(
    name: str,
    inputs: str,
    outputs: str,
    body: str,
    opset: int = 17,
    constants: str = "",
    reference: Callable[..., Any] | None = None,
    **values: Any,
) -> FormCase:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> g '
    text = f"{head}({inputs}) => ({outputs}) {constants} {{ {body} }}"
    return FormCase(name, text, values, reference)


_ONE_AXIS = [
    *(
        _case(f"{operator} of one axis, opset {opset}", "float[7] x", "float[7] y", f"y = {operator}<axis=0>(x)", opset)
        for operator in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (11, 13)
    ),
    *(
        _case(f"{operator} of one axis, keepdims {keep}", "float[7] x", f"int64{axes} y", f"y = {operator}<keepdims={keep}, axis=-1>(x)", 13)
        for operator in ("ArgMax", "ArgMin")
        for keep, axes in ((0, ""), (1, "[1]"))
    ),
    _case("ArgMax, the last of equals", "float[5] x", "int64[1] y", "y = ArgMax<select_last_index=1>(x)", 13, x=[1, 3, 3, 2, 3]),
    _case("TopK of one axis", "float[7] x", "float[2] v, int64[2] i", "k = Constant<value_ints=[2]>() v, i = TopK(x, k)", 13),
    _case("CumSum of one axis", "float[7] x", "float[7] y", "k = Constant<value_int=0>() y = CumSum(x, k)"),
    *(
        _case(f"{operator} of a scalar", "float x", "float y", f"y = {operator}<keepdims=0>(x)", 13)
        for operator in ("ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "ReduceLogSumExp")
    ),
    _case("a vector times matrices", "float[7] a, float[5,7,3] b", "float[5,3] y", "y = MatMul(a, b)"),
    _case("a vector times a matrix", "float[7] a, float[7,3] b", "float[3] y", "y = MatMul(a, b)"),
    _case("matrices times a vector", "float[5,2,7] a, float[7] b", "float[5,2] y", "y = MatMul(a, b)"),
    _case("a vector times a vector", "float[7] a, float[7] b", "float y", "y = MatMul(a, b)"),
]  # fmt: skip

_EINSUM = [
    _case(f"Einsum {equation}", inputs, f"float{output} y", f'y = Einsum<equation="{equation}">({names})')
    for equation, inputs, names, output in (
        ("IJ,JK->IK", "float[2,3] a, float[3,4] b", "a, b", "[2,4]"),
        ("aB,Bc->ac", "float[2,3] a, float[3,4] b", "a, b", "[2,4]"),
        ("Ba", "float[2,3] a", "a", "[2,3]"),
        ("aB", "float[2,3] a", "a", "[3,2]"),
        ("ba", "float[2,3] a", "a", "[3,2]"),
        ("...IJ,...JK->...IK", "float[2,2,3] a, float[2,3,4] b", "a, b", "[2,2,4]"),
        ("B G H I D, B G H J D -> B G H I J", "float[1,2,2,3,4] a, float[1,2,2,5,4] b", "a, b", "[1,2,2,3,5]"),
        ("ii->i", "float[3,3] a", "a", "[3]"),
        ("ii", "float[3,3] a", "a", ""),
        ("II,IK->IK", "float[3,3] a, float[3,4] b", "a, b", "[3,4]"),
        ("iij->ij", "float[3,3,4] a", "a", "[3,4]"),
        ("ij,jk,kl->il", "float[2,3] a, float[3,4] b, float[4,5] c", "a, b, c", "[2,5]"),
        ("AB,BC,CD->AD", "float[2,3] a, float[3,4] b, float[4,5] c", "a, b, c", "[2,5]"),
        ("ij,jk", "float[2,3] a, float[3,4] b", "a, b", "[2,4]"),
    )
]  # fmt: skip

_S = "<float s={0.1}, int8 z={0}, int8 z3={3}, uint8 u0={0}, uint8 u128={128}, float[3] s3={0.1, 0.2, 0.05}, uint8[3] u3={3, 100, 250}>"
_NARROW = [
    *(
        _case(f"quantized{zero_point}", "float[4,5] x", "float[4,5] y", f"q = QuantizeLinear(x, s{zero_point}) y = DequantizeLinear(q, s{zero_point})", 19, _S)
        for zero_point in (", z", ", z3", ", u0", ", u128", "")
    ),
    _case("quantized by channels", "float[4,3,5] x", "float[4,3,5] y", "q = QuantizeLinear<axis=1>(x, s3, u3) y = DequantizeLinear<axis=1>(q, s3, u3)", 19, _S),
    _case("uint8 results", "float[4,5] x", "uint8[4,5] y", "y = QuantizeLinear(x, s, u128)", 19, _S),
    _case("uint16", "float[4,5] x", "float[4,5] y", "q = QuantizeLinear(x, t, w) y = DequantizeLinear(q, t, w)", 21, "<float t={0.0001}, uint16 w={30000}>"),
    _case("half scales", "float16[4,5] x", "float16[4,5] y", "h = Cast<to=10>(t) q = QuantizeLinear(x, h, w) y = DequantizeLinear(q, h, w)", 19, "<float t={0.1}, uint8 w={100}>"),
    _case("int32 bias", "float[4,8] x, float[8,3] w", "float[4,3] y", "b = DequantizeLinear(q, s) m = MatMul(x, w) y = Add(m, b)", 17, "<float s={0.01}, int32[3] q={100, -200, 300}>"),
    _case("int32 bias by channels", "float[4,8] x, float[8,3] w", "float[4,3] y", "b = DequantizeLinear<axis=0>(q, s3) m = MatMul(x, w) y = Add(m, b)", 17, "<float[3] s3={0.01, 0.1, 1}, int32[3] q={100, -200, 300}>"),
    _case("int8 table", "int64[2] i", "float[2,2] y", "e = Gather(w, i) y = DequantizeLinear(e, s)", 17, "<float s={0.1}, int8[3,2] w={1, 2, 3, 4, -5, 6}>", i=[2, 1]),
    _case("uint8 table", "int64[2] i", "float[2,2] y", "e = Gather(w, i) y = DequantizeLinear(e, s, z)", 17, "<float s={0.1}, uint8 z={100}, uint8[3,2] w={1, 2, 3, 4, 200, 6}>", i=[2, 1]),
    _case("int8 weights", "float[4,3] x", "float[4,2] y", "d = DequantizeLinear(w, s) y = MatMul(x, d)", 17, "<float s={0.1}, int8[3,2] w={1, 2, 3, 4, -5, 6}>"),
    _case("int8 weights by channels, Gemm", "float[4,3] x", "float[4,2] y", "d = DequantizeLinear<axis=0>(w, s) y = Gemm<transB=1>(x, d)", 17, "<float[2] s={0.1, 0.3}, int8[2,3] w={1, 2, 3, 4, -5, 6}>"),
    _case("int8 weights, Conv", "float[1,3,4,4] x", "float[1,2,4,4] y", "d = DequantizeLinear<axis=0>(w, s) y = Conv(x, d)", 17, "<float[2] s={0.1, 0.3}, int8[2,3,1,1] w={1, 2, 3, 4, -5, 6}>"),
    _case("int8 convolution", "float[1,3,4,4] x", "float[1,2,4,4] y", "q = QuantizeLinear(x, t, z) e = DequantizeLinear(q, t, z) d = DequantizeLinear<axis=0>(w, s) y = Conv(e, d)", 17, "<float t={0.02}, int8 z={0}, float[2] s={0.1, 0.3}, int8[2,3,1,1] w={1, 2, 3, 4, -5, 6}>"),
    _case("DynamicQuantizeLinear", "float[4,5] x", "uint8[4,5] q, float s, uint8 z", "q, s, z = DynamicQuantizeLinear(x)"),
    _case("MatMulInteger", "uint8[4,5] a, int8[5,3] b, uint8 p, int8[3] q", "int32[4,3] y", "y = MatMulInteger(a, b, p, q)"),
    _case("ConvInteger", "uint8[1,2,5,5] x, uint8[3,2,3,3] w, uint8 p", "int32[1,3,5,5] y", "y = ConvInteger<pads=[1,1,1,1]>(x, w, p)"),
    _case("QLinearMatMul", "uint8[4,5] a, uint8[5,3] b", "uint8[4,3] y", "y = QLinearMatMul(a, s, p, b, t, q, u, r)", 17, "<float s={0.01}, float t={0.02}, float u={0.03}, uint8 p={100}, uint8 q={110}, uint8 r={120}>"),
    _case("QLinearConv", "uint8[1,2,5,5] x", "uint8[1,3,3,3] y", "y = QLinearConv(x, s, p, w, t, q, u, r, b)", 17, "<float s={0.01}, float[3] t={0.02, 0.03, 0.01}, float u={0.03}, uint8 p={100}, int8[3] q={0, 0, 0}, uint8 r={120}, int32[3] b={100, -300, 500}, int8[3,2,3,3] w={1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -18, 1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16, 17, -18}>"),
    _case("uint8 image transposed", "uint8[1,4,6,3] x", "float[1,3,4,6] y", "t = Transpose<perm=[0,3,1,2]>(x) y = Cast<to=1>(t)"),
    _case("uint8 image sliced, padded, reshaped", "uint8[1,4,6,3] x", "float[1,90] y", "b = Constant<value_ints=[1]>() e = Constant<value_ints=[4]>() a = Constant<value_ints=[1]>() t = Slice(x, b, e, a) p = Constant<value_ints=[0,1,0,0,0,1,0,0]>() v = Constant<value=uint8 {7}>() u = Pad(t, p, v) w = Flatten(u) y = Cast<to=1>(w)"),
    _case("uint8 image resized", "uint8[1,3,4,4] x", "float[1,3,8,8] y", 'k = Constant<value_floats=[1.0,1.0,2.0,2.0]>() t = Resize<mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric">(x, , k) y = Cast<to=1>(t)'),
    _case("uint8 image pooled, stacked, given back", "uint8[1,3,4,4] x", "uint8[1,6,2,2] y", "p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) y = Concat<axis=1>(p, p)"),
    *(
        _case(f"uint8 {operator}", "uint8[3,4] a, uint8[3,4] b", f"{kind}[3,4] y", f"y = {operator}(a, b)")
        for operator, kind in (("Add", "uint8"), ("Sub", "uint8"), ("Mul", "uint8"), ("Max", "uint8"), ("Min", "uint8"), ("Less", "bool"), ("Equal", "bool"), ("GreaterOrEqual", "bool"))
    ),
    _case("uint8 Div", "uint8[3,4] a, uint8[4] b", "uint8[3,4] y", "y = Div(a, b)", b=[1, 3, 7, 255]),
    _case("casts that wrap", "int32[3,4] x", "uint8[3,4] y, float[3,4] z", "y = Cast<to=2>(x) q = Cast<to=3>(x) z = Cast<to=1>(q)"),
    _case("casts between narrow types", "uint8[3,4] x", "float[3,4] y", "q = Cast<to=3>(x) r = Neg(q) y = Cast<to=1>(r)"),
    _case("int8 Clip", "int8[3,4] x", "int8[3,4] y", "y = Clip(x, a, b)", 13, "<int8 a={-20}, int8 b={50}>"),
    _case("uint8 chosen by a mask", "uint8[3,4] a, bool[3,4] c", "uint8[3,4] y", "k = Constant<value=uint8 {9}>() y = Where(c, a, k)"),
]  # fmt: skip

_OLD = [
    _case("Add along an axis, opset 6", "float[2,3,4] x, float[3] b", "float[2,3,4] y", "z = Neg(x) y = Add<broadcast=1, axis=1>(z, b)", 6, reference=lambda x, b: b[:, None] - x),
    _case("Mul, opset 6", "float[2,3] x, float[2,3] b", "float[2,3] y", "y = Mul(x, b)", 6, reference=lambda x, b: x * b),
    _case("Sub by the last axes, opset 6", "float[2,3,4] x, float[3,4] b", "float[2,3,4] y", "y = Sub<broadcast=1>(x, b)", 6, reference=lambda x, b: x - b),
    _case("Pow along axes, opset 1", "float[2,3,4] x, float[2,3] b", "float[2,3,4] y", "a = Abs(x) y = Pow<broadcast=1, axis=0>(a, b)", 1, reference=lambda x, b: abs(x) ** b[:, :, None]),
    _case("Greater along an axis, opset 6", "float[2,3,4] x, float[2,3] b", "bool[2,3,4] y", "y = Greater<broadcast=1, axis=0>(x, b)", 6, reference=lambda x, b: x > b[:, :, None]),
    _case("And of comparisons, opset 6", "float[3,3] x, float[3] b", "bool[3,3] y", "c = Less(x, x) d = Not(c) e = Greater<broadcast=1, axis=0>(x, b) y = And(e, d)", 6, reference=lambda x, b: x > b[:, None]),
    _case("PRelu by channels, opset 6", "float[2,3,4] x, float[3] b", "float[2,3,4] y", "y = PRelu(x, b)", 6, reference=lambda x, b: np.where(x < 0, x * b[:, None], x)),
    _case("Gemm, opset 6", "float[2,3] x, float[3,4] w, float[4] b", "float[2,4] y", "y = Gemm<broadcast=1>(x, w, b)", 6, reference=lambda x, w, b: x @ w + b),
    _case("Cast, Concat and Reshape, opset 3", "float[2,3] x", "int32[12] y", 'c = Concat(x, x) r = Reshape<shape=[12]>(c) y = Cast<to="INT32">(r)', 3, reference=lambda x: np.concatenate([x, x], 1).ravel().astype(np.int32)),
    _case("Pad and Upsample, opset 1", "float[1,1,2,3] x", "float[1,1,8,6] y", "p = Pad<paddings=[0,0,1,0,0,0,1,0]>(x) y = Upsample<width_scale=2.0, height_scale=2.0>(p)", 1, reference=lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))).repeat(2, 2).repeat(2, 3)),
    _case("Tile, opset 5", "float[1,3] x", "float[2,3] y", "y = Tile(x, t, a)", 5, "<float t={2}, float a={0}>", reference=lambda x: x.repeat(2, 0)),
    _case("Split by an input, opset 1", "float[2,4] x", "float[2,3] y", "y, z = Split<axis=1>(x, s)", 1, "<float[2] s={3, 1}>", reference=lambda x: x[:, :3]),
]  # fmt: skip

_OTHERS = [
    _case("LayerNormalization with all outputs", "float[2,3,4] x, float[4] g", "float[2,3,4] y, float[2,3,1] m, float[2,3,1] d", "y, m, d = LayerNormalization(x, g)"),
    _case("NegativeLogLikelihoodLoss", "float[5,4] x, int64[5] t, float[4] w", "float l", "l = NegativeLogLikelihoodLoss<ignore_index=2>(x, t, w)", 13, t=[0, 3, 2, 1, 2], w=[1, 2, 3, 4]),
    _case("SoftmaxCrossEntropyLoss", "float[5,4,2] x, int64[5,2] t", "float l, float[5,4,2] p", "l, p = SoftmaxCrossEntropyLoss(x, t)", 13, t=[0, 1, 2, 3, 0, 1, 2, 3, 3, 2]),
    _case("Mod of floats", "float[3,4] a, float[3,4] b", "float[3,4] y", "y = Mod(a, b)", reference=lambda a, b: np.mod(a, b)),
    _case("ReduceMax of booleans", "bool[3,4] x", "bool[3,1] y", "k = Constant<value_ints=[1]>() y = ReduceMax(x, k)", 20),
    _case("Compress by a constant", "float[3,4] x", "float[3,2] y", "c = Constant<value=bool[4] {1, 0, 0, 1}>() y = Compress<axis=1>(x, c)"),
    _case("CenterCropPad", "float[5,4] x", "float[2,7] y", "k = Constant<value_ints=[2,7]>() y = CenterCropPad(x, k)", 18),
    _case("AffineGrid", "float[2,2,3] t", "float[2,3,4,2] y", "k = Constant<value_ints=[2,1,3,4]>() y = AffineGrid(t, k)", 20),
    _case("in a branch", "float[7] x, bool c", "float[7] y", "y = If(c)<then_branch = t () => (float[7] a) { n = Neg(x) a = Softmax(n) }, else_branch = e () => (float[7] b) { b = Identity(x) }>", 13, c=True),
]  # fmt: skip

CASES = {case.name: case for case in (*_ONE_AXIS, *_EINSUM, *_NARROW, *_OLD, *_OTHERS)}
