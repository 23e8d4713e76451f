"""Small ONNX models that answer wrongly, or not at all, if all of them computes in float16.

Like `support.models`, with the computation in numpy's float64; ``traps`` lists them, each with
inputs that spring it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.models import Array, Model, make, value
from support.randomness import new_rng

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Trap = tuple[Model, tuple[Array, ...]]


def _normal(*shape: int) -> Array:
    values: Array = new_rng().standard_normal(shape).astype(np.float32)
    return values


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def layer_norm(epsilon: float = 1e-12) -> Trap:
    """Written out; rows whose squares exceed float16, and one whose variance vanishes there."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", "epsilon"], ["safe"]),
        helper.make_node("Sqrt", ["safe"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], ["normal"]),
        helper.make_node("MatMul", ["normal", "w"], ["y"]),
    ]
    w = _normal(64, 8) / 8
    weights: dict[str, Array] = {
        "two": np.array(2, np.float32), "epsilon": np.array(epsilon, np.float32), "w": w
    }  # fmt: skip
    proto = make(nodes, [value("x", FLOAT, [4, 64])], [value("y", FLOAT, [4, 8])], weights)

    def reference(x: Array) -> Array:
        centred = x.astype(float) - x.astype(float).mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        result: Array = normal @ w.astype(float)
        return result

    scales = np.array([[1], [600], [2e-5], [30]], np.float32)
    return Model(proto, reference), (_normal(4, 64) * scales,)


def masked_softmax() -> Trap:
    """A mask of integers that becomes float32's lowest value; one row is masked altogether."""
    lowest = np.finfo(np.float32).min
    nodes = [
        helper.make_node("Cast", ["mask"], ["wide"], to=FLOAT),
        helper.make_node("Sub", ["one", "wide"], ["absent"]),
        helper.make_node("Mul", ["absent", "lowest"], ["bias"]),
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["y"], axis=-1),
    ]
    w = _normal(16, 8)
    weights = {"one": np.array(1, np.float32), "lowest": np.array(lowest), "w": w}
    inputs = [value("x", FLOAT, [4, 16]), value("mask", INT64, [4, 8])]
    proto = make(nodes, inputs, [value("y", FLOAT, [4, 8])], weights)

    def reference(x: Array, mask: Array) -> Array:
        # As in float32, where a score is lost next to the lowest value.
        bias = np.where(mask == 0, float(lowest), 0)
        return _softmax(x.astype(float) @ w.astype(float) + bias)

    mask = new_rng().integers(0, 2, (4, 8))
    mask[:, 0], mask[2] = 1, 0
    return Model(proto, reference), (_normal(4, 16) / 4, mask)


def vector_norm() -> Trap:
    """Sums of squares beyond 65504, in range again after the root and the division."""
    nodes = [
        helper.make_node("ReduceSumSquare", ["x"], ["sum"], axes=[-1]),
        helper.make_node("Sqrt", ["sum"], ["length"]),
        helper.make_node("Div", ["x", "length"], ["unit"]),
        helper.make_node("MatMul", ["unit", "w"], ["y"]),
    ]
    w = _normal(500, 8)
    proto = make(nodes, [value("x", FLOAT, [3, 500])], [value("y", FLOAT, [3, 8])], {"w": w})

    def reference(x: Array) -> Array:
        wide = x.astype(float)
        result: Array = wide / np.sqrt((wide**2).sum(-1, keepdims=True)) @ w.astype(float)
        return result

    return Model(proto, reference), (_normal(3, 500) * 50,)


def large_constants() -> Trap:
    """Activations beyond 65504 on the way, by a constant that is: y = relu(x * 1e6 + b) / 1e6."""
    b = _normal(8) * np.float32(1e6)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Mul", ["product", "million"], ["large"]),
        helper.make_node("Add", ["large", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["positive"]),
        helper.make_node("Div", ["positive", "million"], ["y"]),
    ]
    w = _normal(16, 8) / 4
    weights = {"w": w, "million": np.array(1e6, np.float32), "b": b}
    proto = make(nodes, [value("x", FLOAT, [4, 16])], [value("y", FLOAT, [4, 8])], weights)

    def reference(x: Array) -> Array:
        sums = x.astype(float) @ w.astype(float) + b.astype(float) / 1e6
        result: Array = np.maximum(sums, 0)
        return result

    return Model(proto, reference), (_normal(4, 16),)


def small_constants() -> Trap:
    """A divisor that float16 makes zero, and a bound before a logarithm."""
    nodes = [
        helper.make_node("Mul", ["x", "small"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "least"], ["bounded"]),
        helper.make_node("Log", ["bounded"], ["log"]),
        helper.make_node("Div", ["scaled", "divisor"], ["ratio"]),
        helper.make_node("Add", ["log", "ratio"], ["y"]),
    ]
    weights = {
        "small": np.array(1e-6, np.float32),
        "least": np.array(1e-10, np.float32),
        "divisor": np.array([1e-6, 2e-8, 1], np.float32),
    }
    proto = make(nodes, [value("x", FLOAT, [4, 3])], [value("y", FLOAT, [4, 3])], weights)

    def reference(x: Array) -> Array:
        small, least, divisor = (weights[name].astype(float) for name in weights)
        scaled = x.astype(float) * small
        result: Array = np.log(np.maximum(scaled, least)) + scaled / divisor
        return result

    return Model(proto, reference), (_normal(4, 3),)


def exponentials() -> Trap:
    """A softmax that subtracts no maximum."""
    nodes = [
        helper.make_node("Exp", ["x"], ["powers"]),
        helper.make_node("ReduceSum", ["powers", "last"], ["sum"]),
        helper.make_node("Div", ["powers", "sum"], ["shares"]),
        helper.make_node("MatMul", ["shares", "w"], ["y"]),
    ]
    w = _normal(16, 8)
    weights = {"last": np.array([-1]), "w": w}
    proto = make(nodes, [value("x", FLOAT, [4, 16])], [value("y", FLOAT, [4, 8])], weights)

    def reference(x: Array) -> Array:
        result: Array = _softmax(x.astype(float)) @ w.astype(float)
        return result

    return Model(proto, reference), (_normal(4, 16) * 3 + np.float32(12),)


def rotary() -> Trap:
    """Angles: integer positions and a time, each times frequencies, off by radians in float16."""
    frequencies = (10000.0 ** -(np.arange(8) / 8)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["positions"], ["wide"], to=FLOAT),
        helper.make_node("MatMul", ["wide", "row"], ["angles"]),
        helper.make_node("Transpose", ["angles"], ["turned"], perm=[1, 0]),
        helper.make_node("Cos", ["turned"], ["cos"]),
        helper.make_node("Mul", ["time", "column"], ["phase"]),
        helper.make_node("Unsqueeze", ["phase", "zero"], ["phases"]),
        helper.make_node("Sin", ["phases"], ["sin"]),
        helper.make_node("Squeeze", ["sin", "zero"], ["flat"]),
        helper.make_node("MatMul", ["cos", "w"], ["mixed"]),
        helper.make_node("Add", ["mixed", "flat"], ["y"]),
    ]
    w = _normal(5, 4) / 2
    weights: dict[str, Array] = {
        "row": frequencies[None], "column": frequencies[:, None], "zero": np.array([0]), "w": w
    }  # fmt: skip
    inputs = [value("positions", INT64, [5, 1]), value("time", FLOAT, [1])]
    proto = make(nodes, inputs, [value("y", FLOAT, [8, 4])], weights)

    def reference(positions: Array, time: Array) -> Array:
        wide = frequencies.astype(float)[:, None]
        cos = np.cos(wide @ positions.T.astype(float)) @ w.astype(float)
        result: Array = cos + np.sin(time.astype(float) * wide)
        return result

    positions = new_rng().integers(2000, 60000, (5, 1))
    return Model(proto, reference), (positions, np.array([921.7], np.float32))


def large_integers() -> Trap:
    """Integers beyond float16's range, divided into it."""
    nodes = [
        helper.make_node("Cast", ["n"], ["wide"], to=FLOAT),
        helper.make_node("Div", ["wide", "divisor"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "w"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "v"], ["y"]),
    ]
    w, v = _normal(16, 8) / 4, _normal(8, 8) / 3
    weights: dict[str, Array] = {"divisor": np.array(50000, np.float32), "w": w, "v": v}
    proto = make(nodes, [value("n", INT64, [4, 16])], [value("y", FLOAT, [4, 8])], weights)

    def reference(n: Array) -> Array:
        result: Array = n / 50000 @ w.astype(float) @ v.astype(float)
        return result

    return Model(proto, reference), (new_rng().integers(60000, 200000, (4, 16)),)


def filled_mask() -> Trap:
    """A mask made by ConstantOfShape and Where, for rows that are masked altogether too."""
    lowest = numpy_helper.from_array(np.array([-1e9], np.float32))
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["low"], value=lowest),
        helper.make_node("Where", ["seen", "x", "low"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["y"], axis=-1),
    ]
    inputs = [value("x", FLOAT, [4, 8]), value("seen", TensorProto.BOOL, [4, 8])]
    proto = make(nodes, inputs, [value("y", FLOAT, [4, 8])])
    seen = new_rng().integers(0, 2, (4, 8)).astype(bool)
    seen[0] = False
    return Model(proto, lambda x, s: _softmax(np.where(s, x.astype(float), -1e9))), (
        _normal(4, 8),
        seen,
    )


TRAPS: dict[str, Callable[[], Trap]] = {
    make.__name__: make
    for make in (
        layer_norm, masked_softmax, vector_norm, large_constants, small_constants, exponentials,
        rotary, large_integers, filled_mask,
    )
}  # fmt: skip


def quantized(kind: str = "int8", opset: int = 21, scale: float = 0.02) -> Model:
    """y = relu(x) w with Q/DQ pairs at x and w, whose scales differ by channel; x ``[4, 32]``.

    The reference is the quantized computation: it rounds x as QuantizeLinear does.
    """
    import ml_dtypes

    types = {"int8": np.int8, "fp8": ml_dtypes.float8_e4m3fn}
    dtype = np.dtype(types[kind])
    weights: dict[str, Array] = {
        "s": np.array(scale, np.float32),
        "z": np.array(0, dtype),
        "w": new_rng().integers(-100, 100, (32, 16)).astype(dtype),
        "ws": (new_rng().random(16) * 0.01 + 0.002).astype(np.float32),
        "wz": np.zeros(16, dtype),
    }
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], "relu"),
        helper.make_node("QuantizeLinear", ["positive", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["dw"], "weight", axis=1),
        helper.make_node("MatMul", ["d", "dw"], ["y"], "product"),
    ]
    x, y = value("x", FLOAT, [4, 32]), value("y", FLOAT, [4, 16])
    proto = make(nodes, [x], [y], weights, opset=opset)
    return Model(proto, lambda x: quantized_range(proto, x)[0])


def quantized_range(proto: onnx.ModelProto, x: Array, off: float = 0.0) -> tuple[Array, Array]:
    """The least and the largest y of `quantized` where x / s is off by a share of up to ``off``.

    A value next to the middle between two steps may then go to either of them.
    """
    parts = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scale, weight = float(parts["s"]), parts["w"].astype(float) * parts["ws"].astype(float)

    def rounded(scaled: Array) -> Array:
        if parts["w"].dtype == np.int8:
            scaled = np.clip(np.rint(scaled), -128, 127)
        result: Array = scaled.astype(np.float32).astype(parts["w"].dtype).astype(float) * scale
        return result

    scaled = np.maximum(x.astype(float), 0) / scale
    low, high = rounded(scaled * (1 - off)), rounded(scaled * (1 + off))
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    return low @ positive + high @ negative, high @ positive + low @ negative
