"""Small graphs that TensorRT computes otherwise than ONNX means them, as they are."""

from __future__ import annotations

import itertools
import zlib
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.parser import parse_model

from support.models import Array

DTYPES: dict[str, Any] = {
    "float": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "int32": np.int32, "int64": np.int64,
}  # fmt: skip
ROUNDING = {"float": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
"""Relative errors of a few operations of a type."""
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


class Case(NamedTuple):
    """A graph in ONNX's text form, and what it is fed with."""

    graph: str
    feeds: dict[str, Any] = {}  # noqa: RUF012  # never changed
    """Inputs by name; what is not here is drawn."""
    weights: dict[str, Any] = {}  # noqa: RUF012
    opset: int = 17
    shapes: dict[str, Any] | None = None
    """For dynamic inputs."""

    @property
    def dtype(self) -> str:
        """The type of the first input, as in ONNX's text."""
        return self.graph.split("(", 1)[1].replace("[", " ").split()[0]

    @property
    def tolerance(self) -> float:
        """For results of floating point."""
        return ROUNDING.get(self.dtype, 0)

    def proto(self) -> onnx.ModelProto:
        """The model."""
        version = 8 if self.opset < 19 else 10
        header = f'<ir_version: {version}, opset_import: ["" : {self.opset}]>'
        proto = parse_model(f"{header} {self.graph}")
        for name, value in self.weights.items():
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return proto

    def inputs(self) -> dict[str, Array]:
        """Arrays by name: seeded, and the same in each call."""
        rng = np.random.default_rng(zlib.crc32(self.graph.encode()))
        arrays = {}
        for value in self.proto().graph.input:
            tensor = value.type.tensor_type
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            given = self.feeds.get(value.name)
            if given is not None:
                arrays[value.name] = np.asarray(given).astype(dtype)
                continue
            shape = [dim.dim_value for dim in tensor.shape.dim]
            drawn = rng.standard_normal(shape) if dtype.kind in "fV" else rng.integers(-9, 9, shape)
            arrays[value.name] = np.asarray(drawn).astype(dtype)
        return arrays

    def expected(self) -> list[Array]:
        """What ONNX Runtime makes of it, in float32 instead of the 16-bit types."""
        proto = self.proto()
        for value in (*proto.graph.input, *proto.graph.output):
            if value.type.tensor_type.elem_type in _HALVES:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for tensor in proto.graph.initializer:
            if tensor.data_type in _HALVES:
                wide = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
        wide_inputs = {
            name: array.astype(np.float32) if array.dtype.name.endswith("float16") else array
            for name, array in self.inputs().items()
        }
        return run(proto, wide_inputs)


def run(proto: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    """What ONNX Runtime gives."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(result) for result in session.run(None, inputs)]


def assert_same(actual: Any, expected: Array, tolerance: float) -> None:
    """The same shape and values: integers exactly, floats but for rounding."""
    array = np.asarray(actual)
    assert array.shape == expected.shape
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(array, expected)
        return
    wide = expected.astype(np.float64)
    finite = np.abs(wide[np.isfinite(wide)])
    absolute = tolerance * 1e-2 * (finite.max() if finite.size else 0)
    np.testing.assert_allclose(array.astype(np.float64), wide, rtol=tolerance, atol=absolute)


def _means() -> dict[str, Case]:
    found = {}
    for dtype, count in itertools.product(("float", "float16", "bfloat16"), (1, 2, 3)):
        names = "abc"[:count]
        inputs = ", ".join(f"{dtype}[4,8] {name}" for name in names)
        graph = f"g ({inputs}) => ({dtype}[4,8] y) {{ y = Mean ({', '.join(names)}) }}"
        found[f"Mean of {count} {dtype}"] = Case(graph)
    found["Mean that is broadcast, within a graph"] = Case(
        "g (float16[4,8] a, float16[8] b, float16[4,1] c) => (float16[4,8] y) "
        "{ d = Abs (a) m = Mean (d, b, c) y = Neg (m) }"
    )
    return found


def _pools() -> dict[str, Case]:
    """Windows at the end: within, beyond the padding, and beginning there."""
    sizes: list[tuple[Any, ...]] = [
        ((1, 1), (3, 3), (8, 8), None),
        ((2, 2), (2, 2), (7, 8), None),
        ((3, 3), (2, 2), (8, 9), (1, 1, 1, 1)),
        ((2, 2), (3, 3), (9, 10), None),
        ((3, 2), (2, 3), (9, 9), (0, 1, 1, 0)),
        ((2, 2), (4, 4), (9, 9), (1, 1, 1, 1)),
        ((2,), (2,), (7,), (1, 1)),
        ((2, 2, 2), (2, 2, 2), (5, 6, 7), None),
    ]
    found = {}
    for operator, (kernel, strides, extents, pads) in itertools.product(
        ("MaxPool", "AveragePool", "AveragePool, padding counts", "LpPool"), sizes
    ):
        counts = ", count_include_pad=1" if "counts" in operator else ""
        attributes = f"kernel_shape={list(kernel)}, strides={list(strides)}, ceil_mode=1{counts}"
        if pads:
            attributes += f", pads={list(pads)}"
        x = ",".join(map(str, extents))
        y = ",".join(f"y{i}" for i in range(len(kernel)))
        # Whatever is beyond would show in the mean, too.
        graph = (
            f"g (float[1,2,{x}] x) => (float[1,2,{y}] y, float[1,2{',1' * len(kernel)}] z) "
            f"{{ y = {operator.split(',')[0]} <{attributes}> (x) z = GlobalAveragePool (y) }}"
        )
        name = f"{operator} of {kernel} every {strides} of {extents}, pads {pads}"
        found[name] = Case(graph, opset=22)
    for p in (1, 3, 4):
        found[f"LpPool with p={p}"] = Case(
            "g (float[1,2,8,9] x) => (float[1,2,a,b] y) { y = LpPool "
            f"<kernel_shape=[3,2], strides=[2,2], pads=[1,0,1,1], p={p}> (x) }}",
            opset=18,
        )
    for operator, counts in (("MaxPool", ""), ("AveragePool", ", count_include_pad=1")):
        found[f"{operator} of a dynamic size"] = Case(
            f"g (float[1,2,h,w] x) => (float[1,2,a,b] y) {{ y = {operator} "
            f"<kernel_shape=[2,2], strides=[3,3], pads=[0,1,0,1], ceil_mode=1{counts}> (x) }}",
            feeds={"x": np.random.default_rng(3).standard_normal((1, 2, 9, 11))},
            shapes={"x": ((1, 2, 4, 4), (1, 2, 9, 11), (1, 2, 16, 16))},
            opset=22,
        )
    return found


def _transposed_convolutions() -> dict[str, Case]:
    rng = np.random.default_rng(5)
    kernel, bias = rng.standard_normal((4, 2, 3, 3)), rng.standard_normal(4)
    line = rng.standard_normal((4, 2, 3))
    forms = {
        "to an odd size": "output_shape=[12,14]",
        "to an even size": "output_shape=[11,13]",
        "to more than there is": "output_shape=[14,16]",
        "to a size, SAME_UPPER": 'auto_pad="SAME_UPPER", output_shape=[12,14]',
        "to a size, SAME_LOWER": 'auto_pad="SAME_LOWER", output_shape=[12,14]',
        "to a size, with output_padding": "output_padding=[1,1], output_shape=[12,14]",
        "SAME_UPPER": 'auto_pad="SAME_UPPER"',
        "SAME_LOWER": 'auto_pad="SAME_LOWER"',
        "SAME_UPPER, with output_padding": 'auto_pad="SAME_UPPER", output_padding=[1,1]',
        "VALID": 'auto_pad="VALID"',
        "of uneven pads": "pads=[0,1,2,1]",
        "with output_padding": "output_padding=[1,1]",
        "with output_padding, of uneven pads": "output_padding=[1,1], pads=[1,1,0,0]",
    }
    found = {}
    for name, attributes in forms.items():
        graph = (
            "g (float[1,4,6,7] x) => (float[1,4,a,b] y) "
            f"{{ y = ConvTranspose <strides=[2,2], group=2, {attributes}> (x, w, b) }}"
        )
        weights = {"w": np.float32(kernel), "b": np.float32(bias)}
        found[f"ConvTranspose {name}"] = Case(graph, weights=weights)
    found["ConvTranspose with output_padding and a bias that is an input"] = Case(
        "g (float[1,4,6,7] x, float[4] b) => (float[1,4,p,q] y) { y = ConvTranspose "
        "<strides=[2,2], group=2, output_padding=[1,1]> (x, w, b) }",
        weights={"w": np.float32(kernel)},
    )
    found["ConvTranspose of lines to a size"] = Case(
        "g (float[1,4,6] x) => (float[1,2,12] y) "
        "{ y = ConvTranspose <strides=[2], output_shape=[12]> (x, w) }",
        weights={"w": np.float32(line)},
    )
    found["ConvTranspose of float16 to a size"] = Case(
        "g (float16[1,4,6,7] x) => (float16[1,2,12,14] y) "
        "{ y = ConvTranspose <strides=[2,2], output_shape=[12,14]> (x, w) }",
        weights={"w": np.float16(kernel)},
    )
    found["ConvTranspose of a dynamic size to a size"] = Case(
        "g (float[1,4,h,w] x) => (float[1,2,a,b] y) "
        "{ y = ConvTranspose <strides=[2,2], output_shape=[12,14]> (x, k) }",
        feeds={"x": np.random.default_rng(6).standard_normal((1, 4, 6, 7))},
        weights={"k": np.float32(kernel)},
        shapes={"x": (1, 4, 6, 7)},
    )
    return found


def _scatters() -> dict[str, Case]:
    columns = np.array([[-1, 0, 2], [4, -2, -5]])
    points = np.array([[-1, 0], [0, -2], [-2, -5]])
    found = {}
    for dtype in ("float", "float16", "int64", "int32"):
        for operator, indices, updates in (
            ("ScatterElements <axis=-1>", columns, "[2,3]"),
            ("ScatterND", points, "[3]"),
        ):
            body = f"=> ({dtype}[2,5] y) {{ y = {operator} (d, i, u) }}"
            shape = ",".join(map(str, indices.shape))
            name = f"{operator.split()[0]} of {dtype}, negative indices"
            found[f"{name} in the file"] = Case(
                f"g ({dtype}[2,5] d, {dtype}{updates} u) {body}", weights={"i": indices}
            )
            found[f"{name} as an input"] = Case(
                f"g ({dtype}[2,5] d, {dtype}{updates} u, int64[{shape}] i) {body}",
                feeds={"i": indices},
            )
    found["ScatterElements, negative indices of int32"] = Case(
        "g (float[5,2] d, float[3,2] u, int32[3,2] i) => (float[5,2] y) "
        "{ y = ScatterElements (d, i, u) }",
        feeds={"i": columns.T},
    )
    found["ScatterND of rows, negative indices"] = Case(
        "g (float[4,5] d, float[2,5] u, int64[2,1] i) => (float[4,5] y) "
        "{ y = ScatterND (d, i, u) }",
        feeds={"i": [[-1], [1]]},
    )
    return found


def _quantizations() -> dict[str, Case]:
    """Values below and above what int8 and uint8 hold, with a scale of 2."""
    values = [-300, -130, -5, -1.4, 0, 1, 3, 3.4, 90, 254, 256, 400, 510, 511, 600, 5]
    scale = {"s": np.float32(2)}
    both = "{ q = QuantizeLinear (x, s) y = DequantizeLinear (q, s) }"
    pair = "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
    float_16 = "g (float[16] x) => (float[16] y) "
    found = {
        f"to uint8 by default, opset {opset}": Case(float_16 + both, {"x": values}, scale, opset)
        for opset in (13, 21)
    }
    found |= {
        "to uint8 of float16": Case(
            "g (float16[16] x) => (float16[16] y) " + both,
            {"x": values}, {"s": np.float16(2)}, 19,
        ),
        "to uint8 within a graph": Case(
            float_16 + "{ a = Abs (x) q = QuantizeLinear (a, s) r = Identity (q) "
            "d = DequantizeLinear (r, s) y = Neg (d) }", {"x": values}, scale,
        ),
        "to uint8 by name": Case(
            float_16 + "{ q = QuantizeLinear <output_dtype=2> (x, s) y = DequantizeLinear (q, s) }",
            {"x": values}, scale, 21,
        ),
        "to int8 by name": Case(
            float_16 + "{ q = QuantizeLinear <output_dtype=3> (x, s) y = DequantizeLinear (q, s) }",
            {"x": values}, scale, 21,
        ),
        "to uint8 with a zero point": Case(
            float_16 + pair, {"x": values}, scale | {"z": np.uint8(0)}
        ),
        "to uint8 with a zero point of 128": Case(
            float_16 + pair, {"x": values}, scale | {"z": np.uint8(128)}
        ),
        "to uint8 by channel": Case(
            "g (float[4,4] x) => (float[4,4] y) { q = QuantizeLinear <axis=0> (x, s) "
            "y = DequantizeLinear <axis=0> (q, s) }",
            {"x": np.reshape(values, (4, 4))}, {"s": np.array([1, 2, 0.5, 3], np.float32)},
        ),
        "to uint8 as an output": Case(
            "g (float[16] x) => (uint8[16] q, float[16] y) " + both, {"x": values}, scale
        ),
        "from an input of uint8": Case(
            "g (uint8[16] x) => (float[16] y) { y = DequantizeLinear (x, s) }",
            {"x": np.arange(16) * 16}, scale,
        ),
        "from weights of uint8": Case(
            "g (float[2,4] x) => (float[2,4] y) "
            "{ v = DequantizeLinear (w, s, z) y = Add (x, v) }",
            weights=scale | {"w": np.array([0, 127, 128, 255], np.uint8), "z": np.uint8(100)},
        ),
        "to uint8 and cast": Case(
            "g (float[16] x) => (int32[16] y) { q = QuantizeLinear (x, s) y = Cast <to=6> (q) }",
            {"x": values}, scale,
        ),
    }  # fmt: skip
    return {f"Quantization {name}": case for name, case in found.items()}


def _powers() -> dict[str, Case]:
    found = {}
    bases = [10, -10, 3, -3, 2, 0, 1, -1, 7, 9]
    for dtype in ("int64", "int32"):
        for exponent in (0, 1, 2, 3, 8):
            graph = f"g ({dtype}[10] x) => ({dtype}[10] y) {{ y = Pow (x, e) }}"
            weights = {"e": DTYPES[dtype](exponent)}
            found[f"Pow of {dtype} by {exponent}"] = Case(graph, {"x": bases}, weights)
        found[f"Pow of {dtype} by an input"] = Case(
            f"g ({dtype}[10] x, {dtype}[10] e) => ({dtype}[10] y) {{ y = Pow (x, e) }}",
            {"x": bases, "e": [8, 9, 19, 3, 30, 5, 100, 101, 0, 1]},
        )
        found[f"Pow of {dtype} by a float"] = Case(
            f"g ({dtype}[10] x) => ({dtype}[10] y) {{ y = Pow (x, e) }}",
            {"x": bases}, {"e": np.float32(3)},
        )  # fmt: skip
        found[f"Pow of {dtype} by floats that are an input"] = Case(
            f"g ({dtype}[4] x, float[4] e) => ({dtype}[4] y) {{ y = Pow (x, e) }}",
            {"x": [10, -3, 7, 5], "e": [9, 19, 0, 0.3]},
        )
        found[f"Pow of {dtype} by several floats"] = Case(
            f"g ({dtype}[10] x) => ({dtype}[10] y) {{ y = Pow (x, e) }}",
            {"x": bases}, {"e": np.array([8, 9, 19, 3, 30, 5, 100, 101, 0, 1], np.float32)},
        )  # fmt: skip
    found["Pow of int64 beyond float32"] = Case(
        "g (int64[2] x) => (int64[2] y) { y = Pow (x, e) }", {"x": [10, -7]}, {"e": np.int64(15)}
    )
    for kind in ("int64", "int32"):
        found[f"Pow of float by {kind}"] = Case(
            f"g (float[4] x, {kind}[4] e) => (float[4] y) {{ y = Pow (x, e) }}",
            {"x": [2, 3, 4, 0.5], "e": [3, 2, 0, -1]},
        )
    return found


def _logarithms() -> dict[str, Case]:
    wide = {"float": [101.4, -101.4, 88.9, -200, 0, 1e-3, 50, -50]}
    wide["bfloat16"] = wide["float"]
    wide["float16"] = [12.4, -12.4, 11.5, -100, 0, 1e-3, 50, 60000]
    found = {}
    for dtype, values in wide.items():
        rows = np.reshape(values, (2, 4))
        for keep in (0, 1):
            extents = "2,1" if keep else "2"
            found[f"ReduceLogSumExp of {dtype}, keepdims={keep}"] = Case(
                f"g ({dtype}[2,4] x) => ({dtype}[{extents}] y) "
                f"{{ y = ReduceLogSumExp <axes=[-1], keepdims={keep}> (x) }}",
                {"x": rows},
            )
        for opset in (11, 13):
            found[f"LogSoftmax of {dtype}, opset {opset}"] = Case(
                f"g ({dtype}[2,2,2] x) => ({dtype}[2,2,2] y) {{ y = LogSoftmax <axis=1> (x) }}",
                {"x": np.reshape(values, (2, 2, 2))},
                opset=opset,
            )
    found["ReduceLogSumExp over all"] = Case(
        "g (float[4,3] x) => (float y) { y = ReduceLogSumExp <keepdims=0> (x) }",
        {"x": np.reshape(np.arange(12) * 9.0, (4, 3))},
        opset=18,
    )
    found["ReduceLogSumExp of axes as an input"] = Case(
        "g (float[4,3,2] x) => (float[4,2] y) { y = ReduceLogSumExp <keepdims=0> (x, a) }",
        {"x": np.reshape(np.arange(24) * 9.0, (4, 3, 2))},
        {"a": np.array([-2])},
        opset=18,
    )
    infinities = [[-np.inf] * 3, [-np.inf, 1, 2], [np.inf, 1, 2], [np.nan, 1, 2]]
    found["ReduceLogSumExp of infinities"] = Case(
        "g (float[4,3] x) => (float[4] y) { y = ReduceLogSumExp <axes=[1], keepdims=0> (x) }",
        {"x": infinities},
    )
    return found


def _means_over_axes() -> dict[str, Case]:
    large = [[2**53 + 1, 2**53 + 3], [5, -8]]
    found = {
        "ReduceMean of large int64": Case(
            "g (int64[2,2] x) => (int64[2,1] y) { y = ReduceMean (x, a) }",
            {"x": large}, {"a": np.array([1])}, 18,
        ),
        "ReduceMean of float16 beyond its range": Case(
            "g (float16[2,8] x) => (float16[2] y) { y = ReduceMean <axes=[1], keepdims=0> (x) }",
            {"x": [[4e4] * 8, [-6e4] * 8]},
        ),
    }  # fmt: skip
    for dtype, keep in itertools.product(("int32", "int64"), (0, 1)):
        shape = "3,1,1" if keep else "3"
        found[f"ReduceMean of {dtype}, keepdims={keep}"] = Case(
            f"g ({dtype}[3,4,5] x) => ({dtype}[{shape}] y) "
            f"{{ y = ReduceMean <axes=[-1,1], keepdims={keep}> (x) }}"
        )
    return found


def _others() -> dict[str, Case]:
    found = {}
    for dtype in ("float", "float16"):
        bounds = {"l": DTYPES[dtype](0.5), "h": DTYPES[dtype](-0.5)}
        found[f"Clip of {dtype}, the minimum above the maximum"] = Case(
            f"g ({dtype}[4,8] x) => ({dtype}[4,8] y) {{ y = Clip (x, l, h) }}", weights=bounds
        )
    for p in (1, 2, 3):
        found[f"GlobalLpPool with p={p}"] = Case(
            f"g (float[1,2,5,6] x) => (float[1,2,1,1] y) {{ y = GlobalLpPool <p={p}> (x) }}"
        )
    for kind in ("L1", "L2", "SumSquare"):
        graph = (
            "g (float[2,5] x) => (float[2,5] y) "
            f"{{ y = Reduce{kind} <noop_with_empty_axes=1> (x) }}"
        )
        found[f"Reduce{kind} over no axes"] = Case(graph, opset=18)
    found["ReduceL2 over an empty list of axes"] = Case(
        "g (float[2,5] x) => (float[2,5] y) { y = ReduceL2 <noop_with_empty_axes=1> (x, a) }",
        weights={"a": np.zeros(0, np.int64)},
        opset=18,
    )
    return found


def _remainders() -> dict[str, Case]:
    rng = np.random.default_rng(9)
    found = {}
    for dtype, largest in (("float", 1e6), ("float16", 6e4), ("bfloat16", 1e6)):
        found[f"Mod of {dtype}, fmod=1"] = Case(
            f"g ({dtype}[4,16] x, {dtype}[16] y) => ({dtype}[4,16] z) "
            "{ z = Mod <fmod=1> (x, y) }",
            {"x": rng.uniform(-largest, largest, (4, 16)), "y": rng.uniform(-7, 7, 16)},
        )
    edges = [np.inf, -np.inf, np.nan, 0, 5, -5, 5, 1e30]
    found["Mod of float, fmod=1, infinities and zeros"] = Case(
        "g (float[8] x, float[8] y) => (float[8] z) { z = Mod <fmod=1> (x, y) }",
        {"x": edges, "y": [2, 2, 2, 3, 0, np.inf, np.nan, 2e30]},
    )
    return found


def _wide_sums() -> dict[str, Case]:
    found = {}
    forms = {
        "LpNormalization": ("[2,8]", "[2,8]", "LpNormalization <axis=1> (x)"),
        "MeanVarianceNormalization": ("[1,2,4,4]", "[1,2,4,4]", "MeanVarianceNormalization (x)"),
        "LpPool": ("[1,2,4,4]", "[1,2,2,2]", "LpPool <kernel_shape=[2,2], strides=[2,2]> (x)"),
        "LpPool with p=3": ("[1,2,5,5]", "[1,2,3,3]", "LpPool <kernel_shape=[2,2], strides=[2,2], "
                            "p=3, ceil_mode=1> (x)"),
        "GlobalLpPool": ("[1,2,4,4]", "[1,2,1,1]", "GlobalLpPool (x)"),
        "ReduceLogSum": ("[2,8]", "[2,1]", "ReduceLogSum <axes=[1]> (a)"),
    }  # fmt: skip
    rng = np.random.default_rng(8)
    for (name, (x, y, form)), dtype in itertools.product(forms.items(), ("float16", "bfloat16")):
        values = rng.uniform(-800, 800, [int(size) for size in x[1:-1].split(",")])
        if "a)" in form:
            values *= 60
        graph = f"g ({dtype}{x} x) => ({dtype}{y} y) {{ a = Abs (x) y = {form} }}"
        opset = 18 if "ceil" in form else 17
        found[f"{name} of {dtype} beyond its range"] = Case(graph, {"x": values}, opset=opset)
    return found


CASES: dict[str, Case] = {
    **_means(),
    **_pools(),
    **_transposed_convolutions(),
    **_scatters(),
    **_quantizations(),
    **_powers(),
    **_logarithms(),
    **_means_over_axes(),
    **_others(),
    **_remainders(),
    **_wide_sums(),
}
