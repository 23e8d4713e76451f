"""Small models with forms of operators that TensorRT 8.6 does not know, by what is new in them.

Each has an input x and an output y, of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from support.models import Array, Extents, Model, make, value
from support.randomness import new_rng

FLOAT = TensorProto.FLOAT
node = helper.make_node
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "L1": lambda x, **axes: np.abs(x).sum(**axes),
    "L2": lambda x, **axes: np.sqrt((x**2).sum(**axes)),
    "LogSumExp": lambda x, **axes: np.log(np.exp(x).sum(**axes)),
    "Max": np.max,
    "Mean": np.mean,
    "Min": np.min,
    "Prod": np.prod,
    "SumSquare": lambda x, **axes: (x**2).sum(**axes),
}


def _made(
    nodes: list[NodeProto],
    shape: Extents,
    reference: Callable[[Array], Array],
    opset: int,
    **constants: Any,
) -> Model:
    weights = {name: np.asarray(array) for name, array in constants.items()}
    # The reference tells how many axes the result has.
    example = reference(np.zeros([e if isinstance(e, int) else 3 for e in shape]))
    ends = [value("x", FLOAT, shape)], [value("y", FLOAT, [f"y{i}" for i in range(example.ndim)])]
    proto = make(nodes, *ends, weights, opset=opset)
    return Model(proto, lambda x: reference(x.astype(np.float64)))


def _reduced(kind: str, axes: tuple[int, ...], keep: bool) -> Model:
    """Axes as an input, since opset 18. With them kept, another reduction would be broadcast."""
    reduction = node(f"Reduce{kind}", ["x", "axes"], ["r"], "reduce", keepdims=int(keep))
    nodes = [reduction, node("Add", ["x", "r"] if keep else ["r", "r"], ["y"], "add")]

    def reference(x: Array) -> Array:
        found = REDUCTIONS[kind](x, axis=axes, keepdims=keep)
        return np.asarray(x + found if keep else 2 * found)

    return _made(nodes, ("batch", 6, 7), reference, 18, axes=np.array(axes, np.int64))


def _summed_over_none() -> Model:
    """An empty list of axes, which means all."""
    nodes = [
        node("ReduceSum", ["x", "axes"], ["r"], "reduce", keepdims=1),
        node("Add", ["x", "r"], ["y"], "add"),
    ]
    reference = lambda x: x + x.sum(keepdims=True)  # noqa: E731
    return _made(nodes, ("batch", 6, 7), reference, 18, axes=np.zeros(0, np.int64))


def _part_of_a_shape(**part: int) -> Model:
    """x as ``[rows, last]``: the shape's last extent, since opset 15."""
    attributes: dict[str, Any] = dict(part)
    nodes = [
        node("Shape", ["x"], ["last"], "shape", **attributes),
        node("Concat", ["rest", "last"], ["extents"], "join", axis=0),
        node("Reshape", ["x", "extents"], ["y"], "reshape"),
    ]
    rest = np.array([-1], np.int64)
    return _made(nodes, ("batch", 6, 7), lambda x: x.reshape(-1, 7), 15, rest=rest)


def _split_with_a_remainder() -> Model:
    """Seven columns in two parts, in the other order: since opset 18 four and three."""
    nodes = [
        node("Split", ["x"], ["a", "b"], "split", axis=-1, num_outputs=2),
        node("Concat", ["b", "a"], ["y"], "join", axis=-1),
    ]
    return _made(nodes, ("batch", 6, 7), lambda x: np.roll(x, 3, axis=-1), 18)


def _sampled() -> Model:
    """A grid of points between the pixels, in the words of opset 20."""
    grid = new_rng().uniform(-0.99, 0.99, (1, 4, 5, 2)).astype(np.float32)
    nodes = [
        node("GridSample", ["x", "grid"], ["y"], "sample", mode="linear", align_corners=1),
    ]

    def reference(x: Array) -> Array:
        column, row = (
            (grid[0, ..., axis].astype(np.float64) + 1) / 2 * (x.shape[3 - axis] - 1)
            for axis in (0, 1)
        )
        left, top = np.floor(column).astype(int), np.floor(row).astype(int)
        right, down = column - left, row - top
        image = x[0]
        upper = image[:, top, left] * (1 - right) + image[:, top, left + 1] * right
        lower = image[:, top + 1, left] * (1 - right) + image[:, top + 1, left + 1] * right
        return np.asarray((upper * (1 - down) + lower * down)[None])

    return _made(nodes, (1, 2, 6, 7), reference, 20, grid=grid)


def _integers_of_a_constant() -> Model:
    """``value_int`` and ``value_ints`` instead of a tensor, since opset 12."""
    nodes = [
        node("Constant", [], ["axis"], "axis", value_int=2),
        node("Shape", ["x"], ["shape"], "shape"),
        node("Gather", ["shape", "axis"], ["last"], "last", axis=0),
        node("Constant", [], ["zeroth"], "zeroth", value_ints=[0]),
        node("Unsqueeze", ["last", "zeroth"], ["column"], "column"),
        node("Concat", ["rest", "column"], ["extents"], "join", axis=0),
        node("Reshape", ["x", "extents"], ["y"], "reshape"),
    ]
    rest = np.array([-1], np.int64)
    return _made(nodes, ("batch", 6, 7), lambda x: x.reshape(-1, 7), 17, rest=rest)


def _transposed_convolution() -> Model:
    """To an output whose padding is odd: 12 x 14, where 13 x 15 would be all."""
    kernel = new_rng().standard_normal((2, 1, 3, 3)).astype(np.float32)
    nodes = [
        node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2], output_shape=[12, 14]),
    ]

    def reference(x: Array) -> Array:
        whole = np.zeros((1, 1, 13, 15))
        for channel in range(2):
            for row, column in np.ndindex(6, 7):
                part = x[0, channel, row, column] * kernel[channel, 0].astype(np.float64)
                whole[0, 0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += part
        return whole[:, :, 1:, 1:]  # what is left over of an odd padding is at the beginning

    return _made(nodes, (1, 2, 6, 7), reference, 17, w=kernel)


NEWER_OPERATORS: dict[str, Callable[[], Model]] = {
    **{f"Reduce{kind} in rows": partial(_reduced, kind, (-1,), True) for kind in REDUCTIONS},
    "ReduceMean of two axes": partial(_reduced, "Mean", (1, 2), False),
    "ReduceSum of no axes": _summed_over_none,
    "Shape from an axis on": partial(_part_of_a_shape, start=-1),
    "Shape between axes": partial(_part_of_a_shape, start=2, end=3),
    "Split with a remainder": _split_with_a_remainder,
    "GridSample, linear": _sampled,
    "Constant of integers": _integers_of_a_constant,
    "ConvTranspose to a shape": _transposed_convolution,
}
