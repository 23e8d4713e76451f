"""Small ONNX models, each with the same computation in numpy's float64.

Every maker returns a `Model`: ``proto, reference = mlp()``. The reference takes arrays in the order
of the model's inputs and gives, like ``Engine.infer``, one array or a tuple of them. Floating-point
results are float64: compare them with a tolerance for the type that the model computes in. The
weights are random and new in every call.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.randomness import new_rng

Array: TypeAlias = npt.NDArray[Any]
Extents: TypeAlias = Sequence[int | str | None]
"""Numbers, names, or None for an extent that has neither."""

OPSET = 17
QUANTIZED_OPSET = 21
"""For the types that came late, fp8 and int4."""
FP4_OPSET = 23


class Model(NamedTuple):
    """An ONNX model and what it computes."""

    proto: onnx.ModelProto
    reference: Callable[..., Any]

    def to_bytes(self) -> bytes:
        """The content of an ONNX file."""
        return bytes(self.proto.SerializeToString())

    def save(self, path: Path) -> Path:
        """Write an ONNX file and return its path."""
        path.write_bytes(self.to_bytes())
        return path

    def inputs(self, **extents: int) -> tuple[Array, ...]:
        """Random arrays for `random_inputs`."""
        return random_inputs(self.proto, **extents)


def value(name: str, dtype: int, shape: Extents | None) -> onnx.ValueInfoProto:
    """A tensor's declaration; ``None`` for a shape that is not known at all."""
    return helper.make_tensor_value_info(name, dtype, shape)


def make(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, Array] | None = None,
    *,
    opset: int = OPSET,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of these parts; ``domains`` are those of custom operators."""
    initializers = [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=_ir_version(opset))
    if not domains:
        onnx.checker.check_model(proto)
    return proto


def _ir_version(opset: int) -> int:
    """The oldest that the opset may come in, so that old readers read it."""
    return 8 if opset < 19 else 10 if opset < FP4_OPSET else 11


def random_inputs(proto: onnx.ModelProto, **extents: int) -> tuple[Array, ...]:
    """Random arrays for the inputs that no initializer gives.

    Args:
        proto: the model.
        extents: for dimensions by name; 3 where not given.
    """
    given = {tensor.name for tensor in proto.graph.initializer}
    arrays = []
    for declared in proto.graph.input:
        if declared.name not in given:
            tensor = declared.type.tensor_type
            shape = [
                d.dim_value if d.HasField("dim_value") else extents.get(d.dim_param, 3)
                for d in tensor.shape.dim
            ]
            arrays.append(random_array(helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape))
    return tuple(arrays)


def random_array(dtype: npt.DTypeLike, shape: Sequence[int]) -> Array:
    """Normally distributed floats, small integers (negative ones too), or booleans."""
    rng, target = new_rng(), np.dtype(dtype)
    array: Array
    if target.kind == "b":
        array = rng.integers(0, 2, shape)
    elif target.kind == "u" or target.name == "uint4":
        array = rng.integers(0, 16, shape)
    elif target.kind == "i" or target.name == "int4":
        array = rng.integers(-8, 8, shape)
    else:
        array = rng.standard_normal(shape)
    return np.asarray(array, target)


def _weights(*shape: int) -> Array:
    values = new_rng().standard_normal(shape) / np.sqrt(shape[0])
    return np.asarray(values, np.float32)


def mlp(layers: Sequence[int] = (16, 32, 8), batch: int | str | None = "batch") -> Model:
    """Matrix products with ReLU between: x ``[batch, layers[0]]`` to y ``[batch, layers[-1]]``."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    tensor = "x"
    shapes = list(itertools.pairwise(layers))
    for i, (fan_in, fan_out) in enumerate(shapes):
        weights |= {f"w{i}": _weights(fan_in, fan_out), f"b{i}": _weights(fan_out)}
        result = "y" if i == len(shapes) - 1 else f"sum{i}"
        nodes.append(helper.make_node("Gemm", [tensor, f"w{i}", f"b{i}"], [result], f"gemm{i}"))
        if result != "y":
            nodes.append(helper.make_node("Relu", [result], [f"hidden{i}"], f"relu{i}"))
        tensor = f"hidden{i}"
    x = value("x", TensorProto.FLOAT, [batch, layers[0]])
    y = value("y", TensorProto.FLOAT, [batch, layers[-1]])

    def reference(x: Array) -> Array:
        result = x.astype(np.float64)
        for i in range(len(shapes)):
            result = result @ weights[f"w{i}"].astype(float) + weights[f"b{i}"].astype(float)
            if i < len(shapes) - 1:
                result = np.maximum(result, 0)
        return result

    return Model(make(nodes, [x], [y], weights), reference)


def convolution(channels: int = 4, depth: int = 2) -> Model:
    """3x3 convolutions with ReLU over x ``[batch, channels, height, width]``, to y alike."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    tensor = "x"
    for i in range(depth):
        kernel = new_rng().standard_normal((channels, channels, 3, 3))
        weights[f"w{i}"] = (kernel / np.sqrt(9 * channels)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [tensor, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{i}"], ["y" if i == depth - 1 else f"r{i}"], f"relu{i}"),
        ]
        tensor = f"r{i}"
    shape: Extents = ["batch", channels, "height", "width"]
    x, y = value("x", TensorProto.FLOAT, shape), value("y", TensorProto.FLOAT, shape)

    def reference(x: Array) -> Array:
        result = x.astype(np.float64)
        for i in range(depth):
            padded = np.pad(result, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
            result = np.einsum("nchwij,ocij->nohw", windows, weights[f"w{i}"].astype(float))
            result = np.maximum(result, 0)
        return result

    return Model(make(nodes, [x], [y], weights), reference)


def elementwise(
    shape: Extents = ("batch", 4), dtype: int = TensorProto.FLOAT, scale: float = 3.0
) -> Model:
    """y = x * scale + x, in one type and shape: exact for integers and, nearly, for floats.

    ``shape=()`` gives scalars. DOUBLE keeps its declared type although TensorRT computes in
    float32. ONNX Runtime has no BFLOAT16 for this.
    """
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    factor = np.array(scale).astype(numpy_type)
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"], "mul"),
        helper.make_node("Add", ["scaled", "x"], ["y"], "add"),
    ]
    proto = make(nodes, [value("x", dtype, shape)], [value("y", dtype, shape)], {"factor": factor})

    def reference(x: Array) -> Array:
        wide = np.float64 if numpy_type.kind not in "iu" else numpy_type
        result: Array = x.astype(wide) * factor.astype(wide) + x.astype(wide)
        return result

    return Model(proto, reference)


def logical_not(shape: Extents = ("batch", 4)) -> Model:
    """y = not x, for booleans."""
    shapes = [value(name, TensorProto.BOOL, shape) for name in "xy"]
    nodes = [helper.make_node("Not", ["x"], ["y"], "not")]
    return Model(make(nodes, [shapes[0]], [shapes[1]]), np.logical_not)


def through_float(dtype: int = TensorProto.UINT8, shape: Extents = ("batch", 4)) -> Model:
    """y = x + 1 by way of float32, for types that TensorRT takes at the edge only (UINT8)."""
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "one"], ["sum"], "add"),
        helper.make_node("Cast", ["sum"], ["y"], "narrow", to=dtype),
    ]
    one = {"one": np.array(1, np.float32)}
    proto = make(nodes, [value("x", dtype, shape)], [value("y", dtype, shape)], one)
    return Model(proto, lambda x: (x.astype(np.float64) + 1).astype(numpy_type))


def dequantize(dtype: int, shape: Extents = (2, 16), scale: float = 0.25) -> Model:
    """y = float32(x) * scale for an input of 8 or 4 bits (INT8, FLOAT8E4M3FN, INT4, FLOAT4E2M1)."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale"], ["wide"], "dequantize"),
        helper.make_node("Relu", ["wide"], ["y"], "relu"),
    ]
    proto = make(
        nodes,
        [value("x", dtype, shape)],
        [value("y", TensorProto.FLOAT, shape)],
        {"scale": np.array(scale, np.float32)},
        opset=FP4_OPSET if dtype == TensorProto.FLOAT4E2M1 else QUANTIZED_OPSET,
    )
    return Model(proto, lambda x: np.maximum(x.astype(np.float64) * scale, 0))


def quantize(dtype: int, shape: Extents = (2, 16), scale: float = 0.25) -> Model:
    """y = round(relu(x) / scale) as an output of 8 or 4 bits; saturates as ONNX says."""
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], "relu"),
        helper.make_node(
            "QuantizeLinear", ["positive", "scale"], ["y"], "quantize", output_dtype=dtype
        ),
    ]
    proto = make(
        nodes,
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", dtype, shape)],
        {"scale": np.array(scale, np.float32)},
        opset=FP4_OPSET if dtype == TensorProto.FLOAT4E2M1 else QUANTIZED_OPSET,
    )
    most = {"int8": 127.0, "int4": 7.0, "float8_e4m3fn": 448.0, "float4_e2m1fn": 6.0}

    def reference(x: Array) -> Array:
        scaled = np.maximum(x.astype(np.float64), 0) / scale
        if numpy_type.name.startswith("int"):
            scaled = np.rint(scaled)
        result: Array = np.minimum(scaled, most[numpy_type.name]).astype(numpy_type)
        return result

    return Model(proto, reference)


def several() -> Model:
    """Two inputs and two outputs of several shapes and types.

    a ``[batch, 4]`` float32 and b ``[batch, 1]`` int32 to sum ``[batch, 4]`` float32 = a + b and
    twice ``[batch, 1]`` int32 = b + b.
    """
    nodes = [
        helper.make_node("Cast", ["b"], ["wide"], "widen", to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "wide"], ["sum"], "sum"),
        helper.make_node("Add", ["b", "b"], ["twice"], "twice"),
    ]
    inputs = [
        value("a", TensorProto.FLOAT, ["batch", 4]),
        value("b", TensorProto.INT32, ["batch", 1]),
    ]
    outputs = [
        value("sum", TensorProto.FLOAT, ["batch", 4]),
        value("twice", TensorProto.INT32, ["batch", 1]),
    ]
    return Model(
        make(nodes, inputs, outputs), lambda a, b: (a.astype(np.float64) + b.astype(float), b + b)
    )


def attention(width: int = 8) -> Model:
    """Dynamic batch and sequence: y = softmax(x xT) x over x ``[batch, sequence, width]``."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "xt"], ["scores"], "scores"),
        helper.make_node("Softmax", ["scores"], ["weights"], "softmax", axis=-1),
        helper.make_node("MatMul", ["weights", "x"], ["y"], "mix"),
    ]
    x, y = (value(name, TensorProto.FLOAT, ["batch", "sequence", width]) for name in "xy")

    def reference(x: Array) -> Array:
        wide = x.astype(np.float64)
        scores = wide @ wide.transpose(0, 2, 1)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        result: Array = powers / powers.sum(-1, keepdims=True) @ wide
        return result

    return Model(make(nodes, [x], [y]), reference)


def same_name(name: str = "?", elements: int = 3) -> Model:
    """x ``[batch, elements, name, name]``, although height and width are independent: y = x + x."""
    x, y = (value(n, TensorProto.FLOAT, ["batch", elements, name, name]) for n in "xy")
    nodes = [helper.make_node("Add", ["x", "x"], ["y"], "add")]
    return Model(make(nodes, [x], [y]), lambda x: 2 * x.astype(np.float64))


def reshape(elements: int = 24) -> Model:
    """A shape tensor: y = relu(x) in the shape that the int64 input ``shape`` holds.

    x ``["batch", elements]`` float32 and shape ``[2]`` int64; y is of rank 2.
    """
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], "relu"),
        helper.make_node("Reshape", ["positive", "shape"], ["y"], "reshape"),
    ]
    inputs = [
        value("x", TensorProto.FLOAT, ["batch", elements]),
        value("shape", TensorProto.INT64, [2]),
    ]
    outputs = [value("y", TensorProto.FLOAT, ["rows", "columns"])]
    return Model(
        make(nodes, inputs, outputs),
        lambda x, shape: np.maximum(x.astype(np.float64), 0).reshape(tuple(shape)),
    )


def arange() -> Model:
    """An output whose extent is an input's value: y = 0, 1, ... below the int64 scalar ``n``.

    ``n`` is a shape tensor: its profile gives values, such as ``{"n": ((1,), (5,), (9,))}``.
    """
    weights = {"zero": np.array(0, np.int64), "one": np.array(1, np.int64)}
    nodes = [helper.make_node("Range", ["zero", "n", "one"], ["y"], "range")]
    n, y = value("n", TensorProto.INT64, []), value("y", TensorProto.INT64, ["count"])
    return Model(make(nodes, [n], [y], weights), lambda n: np.arange(n))


def nonzero() -> Model:
    """An output whose extent depends on the data: the indices of x ``[n]`` where it is above 0.

    TensorRT-RTX 1.6 does not parse it.
    """
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], "relu"),
        helper.make_node("NonZero", ["positive"], ["y"], "nonzero"),
    ]
    x, y = value("x", TensorProto.FLOAT, ["n"]), value("y", TensorProto.INT64, [1, "found"])
    return Model(make(nodes, [x], [y]), lambda x: np.array(np.nonzero(x > 0)))


def constant_output() -> Model:
    """An output that no input reaches: y = 2 x and c = a weight of shape ``[3]``."""
    weight = _weights(3)
    nodes = [
        helper.make_node("Add", ["x", "x"], ["y"], "add"),
        helper.make_node("Identity", ["w"], ["c"], "identity"),
    ]
    proto = make(
        nodes,
        [value("x", TensorProto.FLOAT, ["batch", 4])],
        [value("y", TensorProto.FLOAT, ["batch", 4]), value("c", TensorProto.FLOAT, [3])],
        {"w": weight},
    )
    return Model(proto, lambda x: (2 * x.astype(np.float64), weight.astype(np.float64)))


def conditional() -> Model:
    """An If: y = x + x where the boolean scalar ``c`` is true, else x * x; x ``[4]`` float32."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["x", "x"], [name], name)],
            name,
            [],
            [value(name, TensorProto.FLOAT, [4])],
        )
        for name, op in (("then", "Add"), ("else", "Mul"))
    }
    nodes = [helper.make_node("If", ["c"], ["y"], "if", **branches)]
    inputs = [value("c", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, [4])]

    def reference(c: Array, x: Array) -> Array:
        wide = x.astype(np.float64)
        return wide + wide if c else wide * wide

    return Model(make(nodes, inputs, [value("y", TensorProto.FLOAT, [4])]), reference)


def loop(trips: int | None = 5) -> Model:
    """A Loop: y = x after adding a random step ``trips`` times; x ``[4]`` float32.

    None: the model takes that number as its second input, a scalar of int64.
    """
    step = _weights(4)
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "step"], ["after"], "step"),
            helper.make_node("Identity", ["going"], ["still"], "still"),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, [4]),
        ],
        [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [4])],
    )
    nodes = [helper.make_node("Loop", ["trips", "go", "x"], ["y"], "loop", body=body)]
    weights = {"go": np.array(True), "step": step}
    inputs = [value("x", TensorProto.FLOAT, [4])]
    if trips is None:
        inputs.append(value("trips", TensorProto.INT64, []))
    else:
        weights["trips"] = np.array(trips, np.int64)
    proto = make(nodes, inputs, [value("y", TensorProto.FLOAT, [4])], weights)

    def reference(x: Array, count: Any = trips) -> Array:
        y: Array = x.astype(np.float64) + int(count) * step.astype(np.float64)
        return y

    return Model(proto, reference)


def loop_by_value() -> Model:
    """The Loop of `loop` whose number of iterations is an input."""
    return loop(None)


def deep(depth: int = 200, width: int = 16) -> Model:
    """Many small layers, so that building takes a while and has many steps."""
    return mlp([width] * (depth + 1))


def unsupported() -> Model:
    """Two nodes that TensorRT does not have, with one that it has between them.

    Node 0 is ``first`` (``com.example.Whirl``), node 2 is ``second`` (``com.example.Twirl``).
    """
    nodes = [
        helper.make_node("Whirl", ["x"], ["a"], "first", domain="com.example"),
        helper.make_node("Relu", ["a"], ["b"], "between"),
        helper.make_node("Twirl", ["b"], ["y"], "second", domain="com.example"),
    ]
    x, y = (value(name, TensorProto.FLOAT, [2, 4]) for name in "xy")

    def reference(x: Array) -> Array:
        raise NotImplementedError("nobody knows what it computes")

    return Model(make(nodes, [x], [y], domains=["com.example"]), reference)


def unbuildable() -> Model:
    """A model that TensorRT parses but does not build: a division by int8 constants."""
    made = elementwise(dtype=TensorProto.INT8)
    made.proto.graph.node[0].op_type = "Div"
    return made


def with_external_data(proto: onnx.ModelProto, path: Path) -> Path:
    """Write a model with every weight in ``<path>.data`` beside it; ``proto`` is not changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    onnx.save_model(
        copy,
        path,
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=0,
    )
    return path


def with_initializers_as_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that lists its weights among its inputs too, as files before IR version 4 did."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in proto.graph.initializer:
        copy.graph.input.append(value(tensor.name, tensor.data_type, list(tensor.dims)))
    return copy
