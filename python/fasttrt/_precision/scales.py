"""Estimate the magnitude of a model's intermediate values from its weights.

float16 rounds values below 6e-8 to zero, and has few bits just above. A network whose values shrink
from layer to layer (random weights, norms without statistics) then gives the same result for every
input, without any other sign.

This is an estimate, not a bound: the root mean square of each tensor, for inputs of about one, as
if factors were independent. Strict bounds grow by the root of each sum's length and say nothing
after a few layers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._graph.traversal import ONNX_DOMAINS

if TYPE_CHECKING:
    import onnx

_Attributes: TypeAlias = Mapping[str, Any]
_SAMPLE = 1 << 18
"""The number of elements of a weight that are sampled."""
_LARGEST = 1e30
"""The limit of estimates, so that their squares are finite."""
_HALF = math.sqrt(0.5)
FAINT = 2.0**-20
"""The magnitude below which float16 has at most 4 bits."""
_ABSORBED = 2.0**-11
"""An addend smaller than this, relative to the sum, does not change it in float16."""

_SAME = frozenset(
    ("Abs", "AveragePool", "Cast", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten",
     "Gather", "GatherElements", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool",
     "Neg", "Pad", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Resize", "Slice",
     "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample")
)  # fmt: skip
"""Operators that move or select values, or compute means."""
_OF_SMALL: Mapping[str, Callable[[float], float]] = {
    "Relu": lambda x: x * _HALF,
    "LeakyRelu": lambda x: x * _HALF,
    "PRelu": lambda x: x * _HALF,
    "Elu": lambda x: x,
    "Gelu": lambda x: x / 2 if x < 1 else x * _HALF,
    "HardSwish": lambda x: x / 2 if x < 1 else x * _HALF,
    "Swish": lambda x: x / 2 if x < 1 else x * _HALF,
    "Tanh": lambda x: min(x, 1.0),
    "Erf": lambda x: min(x, 1.0),
    "Sigmoid": lambda x: 0.5,
    "HardSigmoid": lambda x: 0.5,
    "Sqrt": math.sqrt,
}
"""The magnitude of elementwise functions' results, by that of their input."""


class Scales:
    """Estimates the magnitudes of a graph's tensors."""

    def __init__(
        self, graph: "onnx.GraphProto", read: "Callable[[onnx.TensorProto], Array]"
    ) -> None:
        """Prepare for a graph; ``read`` returns an initializer's values."""
        self._read = read
        self._weights: dict[str, onnx.TensorProto] = {}
        self._sizes: dict[str, float] = {}
        for value in graph.input:
            if value.type.tensor_type.elem_type in (1, 10, 16):
                self._sizes[value.name] = 1.0
        self._lengths = {
            value.name: dims[-1].dim_value
            for value in (*graph.value_info, *graph.input)
            if (dims := value.type.tensor_type.shape.dim)
        }

    def expected(
        self, nodes: "Sequence[onnx.NodeProto]", weights: "Sequence[onnx.TensorProto]"
    ) -> dict[str, float]:
        """Estimate the magnitude of each tensor that nodes compute, where possible."""
        from onnx import helper

        for tensor in weights:
            self._weights[tensor.name] = tensor
            self._sizes.pop(tensor.name, None)  # large weights are temporarily inputs
        for node in nodes:
            if node.domain not in ONNX_DOMAINS:
                continue
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                if "value" in attributes:
                    self._weights[node.output[0]] = attributes["value"]
                continue
            try:
                size = self._result(node, attributes)
            except (ArithmeticError, IndexError, ValueError):  # nonsensical weights
                continue
            if size is not None and not math.isnan(size):
                size = min(size, _LARGEST)
                self._sizes.update(dict.fromkeys(filter(None, node.output), size))
        return self._sizes

    def _result(self, node: "onnx.NodeProto", attributes: _Attributes) -> float | None:
        operator, inputs = node.op_type, node.input
        if operator in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self._product(node, attributes)
        if operator == "BatchNormalization":
            return self._batch_norm(inputs, attributes)
        if operator.endswith("Normalization") and operator[:5] in (
            "Layer",
            "Group",
            "Insta",
            "RMSNo",
        ):
            return self._norm(inputs, attributes)
        if operator == "Softmax":
            length = self._lengths.get(node.output[0], 0)
            return 1 / math.sqrt(length) if length else None
        sizes = [self._size(name) for name in inputs if name]
        if not sizes:
            return None
        if operator == "Concat":
            known = [size for size in sizes if size is not None]
            return max(known) if len(known) == len(sizes) else None
        first = sizes[0]
        if first is None:
            return None
        if operator in _SAME:
            return first
        if operator == "Clip":
            lowest = self._values(inputs[1]) if len(inputs) > 1 and inputs[1] else None
            is_relu = lowest is not None and bool(np.all(lowest >= 0))
            return _OF_SMALL["Relu" if is_relu else "Elu"](first)
        if operator in _OF_SMALL:
            return _OF_SMALL[operator](first)
        if operator == "Where":
            return max(sizes[1] or 0.0, sizes[2] or 0.0) if None not in sizes[1:] else None
        if len(sizes) == 2 and (second := sizes[1]) is not None:
            if operator in ("Add", "Sub", "Max", "Min"):
                return math.hypot(first, second)
            if operator == "Mul":
                return first * second
            if operator == "Div":
                return first / second if second else None
        return None

    def _size(self, name: str) -> float | None:
        if name in self._weights:
            values = self._values(name)
            return None if values is None else _rms(values)
        return self._sizes.get(name)

    def _values(self, name: str) -> Array | None:
        """Return the values of a floating-point constant."""
        tensor = self._weights.get(name)
        if tensor is None or tensor.data_type not in (1, 10, 16):
            return None
        return self._read(tensor)

    def _product(self, node: "onnx.NodeProto", attributes: _Attributes) -> float | None:
        """Estimate sums of products, whose length follows from the weight's shape."""
        data, other = node.input[0], node.input[1]
        if data in self._weights and other not in self._weights and node.op_type == "MatMul":
            data, other = other, data
        size = self._sizes.get(data)
        if size is None:
            return None
        weights = self._values(other)
        if weights is None:
            factor, length = self._sizes.get(other), self._lengths.get(node.input[0], 0)
            return None if factor is None else size * factor * math.sqrt(length or 1)
        if node.op_type == "ConvTranspose":
            group = attributes.get("group", 1)
            strides = math.prod(attributes.get("strides", [1]))
            terms = weights.shape[0] / group * math.prod(weights.shape[2:]) / max(strides, 1)
        elif node.op_type == "Conv":
            terms = math.prod(weights.shape[1:])
        elif node.op_type == "Gemm":
            terms = weights.shape[1 if attributes.get("transB", 0) else 0]
        else:
            terms = weights.shape[-2 if other == node.input[1] and weights.ndim > 1 else -1]
        size *= _rms(weights) * math.sqrt(terms) * attributes.get("alpha", 1.0)
        bias = node.input[2] if len(node.input) > 2 else ""
        return math.hypot(size, (self._size(bias) or 0.0) * attributes.get("beta", 1.0))

    def _batch_norm(self, inputs: Sequence[str], attributes: _Attributes) -> float | None:
        size = self._sizes.get(inputs[0])
        parameters = [self._values(name) for name in inputs[1:5]]
        if size is None or any(values is None for values in parameters):
            return None
        scale, bias, mean, variance = (np.asarray(p, np.float64) for p in parameters)
        factor = scale**2 / (variance + attributes.get("epsilon", 1e-5))
        return math.sqrt(float(np.mean(factor * (size**2 + mean**2) + bias**2)))

    def _norm(self, inputs: Sequence[str], attributes: _Attributes) -> float | None:
        size = self._sizes.get(inputs[0])
        if size is None:
            return None
        scale = self._size(inputs[1]) if len(inputs) > 1 else 1.0
        bias = self._size(inputs[2]) if len(inputs) > 2 and inputs[2] else 0.0
        if scale is None or bias is None:
            return None
        size /= math.sqrt(size**2 + attributes.get("epsilon", 1e-5))
        return math.hypot(size * scale, bias)


def faint(nodes: "Sequence[onnx.NodeProto]", sizes: Mapping[str, float]) -> dict[str, float]:
    """Return the tensors that vanish, or nearly so, in float16 and that affect later results.

    Tensors that are added to much larger ones, as in a branch of small weight, do not.

    Args:
        nodes: the graph's nodes, in order.
        sizes: the result of `Scales.expected`.
    """
    found: dict[str, float] = {}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def matters(name: str, user: "onnx.NodeProto") -> bool:
        result = user.output[0]
        size = sizes.get(result)
        if size is None or size >= FAINT:
            return user.op_type not in ("Add", "Sub") or sizes[name] > (size or 0.0) * _ABSORBED
        return result in found

    for node in reversed(nodes):
        for name in node.output:
            size = sizes.get(name, 1.0)
            if 0 < size < FAINT and (
                name not in users or any(matters(name, user) for user in users[name])
            ):
                found[name] = size
    return dict(reversed(found.items()))


def _rms(values: Array) -> float:
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    return math.sqrt(float(np.mean(np.square(sample)))) if sample.size else 0.0
