"""Write quantization and dequantization in float32, with exactly the values of ONNX."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._graph.weights import Weights
from fasttrt._parser.node_rules import attribute

if TYPE_CHECKING:
    import onnx

FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType
UINT8, INT8, UINT16, INT16 = 2, 3, 4, 5
RANGES = {UINT8: (0, 255), INT8: (-128, 127), UINT16: (0, 65535), INT16: (-32768, 32767)}
"""The range of each narrow type. float32 represents all of its integers exactly."""


class UnwritableError(Exception):
    """A node has no known form in float32."""


class Writer:
    """Collect new nodes and constants for a model."""

    def __init__(self, facts: TensorInfo, weights: Weights) -> None:
        self.facts = facts
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        """New initializers of the model's graph."""
        self._weights = weights
        self._name = ""
        self._values: dict[str, Array] = {}
        self._likes: dict[str, str] = {}
        """By new tensor, a tensor of the model that has its shape."""

    def begin(self, node: "onnx.NodeProto") -> None:
        """Start writing for a node; names of new ones begin with its name."""
        self._name = node.name or next(filter(None, node.output), node.op_type)

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; return its output's name."""
        from onnx import helper

        output = output or self.facts.unused(f"{self._name}/{operator}")
        name = self.facts.unused(f"{self._name}/{operator}_node")
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name, **attributes))
        return output

    def constant(self, values: Any, dtype: Any = np.float32, output: str = "") -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        output = output or self.facts.unused(f"{self._name}/constant")
        array = np.asarray(values, dtype)
        self.constants.append(numpy_helper.from_array(array, output))
        self._values[output] = array
        return output

    def value(self, name: str) -> Array | None:
        """Return a constant's values, of any size; None if the tensor is not constant."""
        if name in self._values:
            return self._values[name]
        tensor = self.facts.tensor(name)
        if tensor is not None:
            return np.asarray(self._weights.array(tensor))
        return self.facts.constant(name)

    def rank(self, name: str) -> int:
        """Return a tensor's rank.

        Raises:
            UnwritableError: it is unknown.
        """
        if name in self._values:
            return self._values[name].ndim
        shape = self.facts.shape(self._likes.get(name, name))
        if shape is None:
            raise UnwritableError(f"the rank of {name} is unknown")
        return len(shape)

    def as_float(self, name: str) -> str:
        """Return a tensor as float32."""
        value = self.value(name)
        if value is not None and value.dtype != np.float32:
            return self.constant(value)
        if value is not None or self.facts.dtype(name) == FLOAT:
            return name
        cast = self.node("Cast", name, to=FLOAT)
        self._likes[cast] = name
        return cast

    def new_like(self, name: str) -> str:
        """Return a new name for a float32 tensor of the same shape."""
        new = self.facts.unused(f"{name}_float32")
        self._likes[new] = name
        return new

    def along(self, name: str, axis: int, tensor: str) -> str:
        """Reshape a parameter to broadcast along an axis of a tensor.

        Args:
            name: the parameter, float32: a scalar, one value, or a value per index of the axis.
            axis: the axis; negative ones count from the end.
            tensor: the tensor that the parameter applies to.
        """
        value = self.value(name)
        if value is not None and value.size == 1:
            return self.constant(value.reshape(()))
        if self.rank(name) == 0:
            return name
        if self.rank(name) != 1:
            raise UnwritableError(f"{name} has more than one axis")
        rank = self.rank(tensor)
        shape = [1] * rank
        if rank:
            shape[axis if axis < 0 else min(axis, rank - 1)] = -1
        if value is not None:
            return self.constant(value.reshape(shape))
        return self.node("Reshape", name, self.constant(shape, np.int64))

    def wrap(self, name: str, dtype: int, output: str = "") -> str:
        """Wrap integers in float32 around into a type's range, as on overflow."""
        low, high = RANGES[dtype]
        size = float(high - low + 1)
        if low:
            name = self.node("Sub", name, self.constant(float(low)))
        turns = self.node("Floor", self.node("Mul", name, self.constant(1 / size)))
        whole = self.node("Mul", turns, self.constant(size))
        if not low:
            return self.node("Sub", name, whole, output=output)
        rest = self.node("Sub", name, whole)
        return self.node("Add", rest, self.constant(float(low)), output=output)


def axis_of(node: "onnx.NodeProto", rank: int) -> int:
    """Return the axis, counted from 0, of a node that quantizes or dequantizes."""
    axis = int(attribute(node, "axis", 1))
    return axis + rank if axis < 0 else min(axis, max(rank - 1, 0))


def quantize(
    writer: Writer,
    tensor: str,
    scale: str,
    zero_point: str,
    limits: tuple[int, int],
    output: str = "",
    axis: int = 1,
) -> str:
    """Write ``clip(round(x / scale) + zero_point)`` in float32.

    Args:
        writer: takes the nodes.
        tensor: what to quantize, of a floating-point type or int32.
        scale: float32.
        zero_point: float32; empty for 0.
        limits: the smallest and the largest quantized value.
        output: the name of the output; empty for a new one.
        axis: the axis of scales and zero points, if there are several.
    """
    divisor = writer.along(scale, axis, tensor)
    steps = writer.node("Round", writer.node("Div", writer.as_float(tensor), divisor))
    if not is_zero(writer, zero_point):
        steps = writer.node("Add", steps, writer.along(zero_point, axis, tensor))
    low, high = (writer.constant(float(limit)) for limit in limits)
    return writer.node("Min", writer.node("Max", steps, low), high, output=output)


def fold_dequantization(node: "onnx.NodeProto", values: Sequence[Array | None]) -> Array:
    """Compute a DequantizeLinear of constants: its input, scale, and zero point or None.

    Raises:
        UnwritableError: the scales do not fit the input.
    """
    quantized, scale, zero_point = values
    assert quantized is not None
    assert scale is not None
    axis = axis_of(node, quantized.ndim)
    block = int(attribute(node, "block_size", 0))

    def fitted(parameter: Array) -> Array:
        if block:
            rows = quantized.shape[axis]
            return np.repeat(parameter, block, axis)[(slice(None),) * axis + (slice(rows),)]
        if parameter.size == 1:
            return parameter.reshape(())
        if parameter.ndim != 1 or parameter.size != quantized.shape[axis]:
            raise UnwritableError(f"{parameter.size} scales do not fit axis {axis}")
        return parameter.reshape([-1 if i == axis else 1 for i in range(quantized.ndim)])

    result = quantized.astype(np.float32)
    if zero_point is not None:
        result = result - fitted(zero_point.astype(np.float32))
    return result * fitted(scale.astype(np.float32))


def is_zero(writer: Writer, name: str) -> bool:
    """Return whether a zero point is omitted or known to be 0."""
    value = writer.value(name) if name else None
    return not name or (value is not None and not value.any())
