"""Models for the tests on a GPU, beside those of `support.models`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from onnx import NodeProto, TensorProto, helper

from support.models import OPSET, Array, Extents, Model, make, value

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node
Weights: TypeAlias = dict[str, Array]


def crossed() -> Model:
    """Inputs c, a, b and outputs z, m, y, in an order that is not that of their names.

    z = c - a, m = a - b, y = c + b, all ``[batch, 4]``.
    """
    nodes = [
        node("Sub", ["c", "a"], ["z"], "z"),
        node("Sub", ["a", "b"], ["m"], "m"),
        node("Add", ["c", "b"], ["y"], "y"),
    ]
    inputs = [value(name, FLOAT, ["batch", 4]) for name in "cab"]
    outputs = [value(name, FLOAT, ["batch", 4]) for name in "zmy"]

    def reference(c: Array, a: Array, b: Array) -> tuple[Array, ...]:
        c, a, b = (x.astype(np.float64) for x in (c, a, b))
        return c - a, a - b, c + b

    return Model(make(nodes, inputs, outputs), reference)


def stacked() -> Model:
    """Two inputs of different extents: y = 2 * [a; b], ``[m, 4]`` over ``[n, 4]``."""
    nodes = [
        node("Concat", ["a", "b"], ["both"], "stack", axis=0),
        node("Add", ["both", "both"], ["y"], "twice"),
    ]
    inputs = [value("a", FLOAT, ["m", 4]), value("b", FLOAT, ["n", 4])]
    return Model(
        make(nodes, inputs, [value("y", FLOAT, ["rows", 4])]),
        lambda a, b: 2 * np.concatenate([a, b]).astype(np.float64),
    )


def sum_of_two() -> Model:
    """y = a + b, both ``[batch, 4]``: one name, so TensorRT takes their extents for equal."""
    inputs = [value(name, FLOAT, ["batch", 4]) for name in "ab"]
    outputs = [value("y", FLOAT, ["batch", 4])]
    proto = make([node("Add", ["a", "b"], ["y"], "add")], inputs, outputs)
    return Model(proto, lambda a, b: a.astype(np.float64) + b.astype(np.float64))


def shape_of() -> Model:
    """y = relu(x) and the int64 shape of x ``[batch, 4, width]``."""
    nodes = [node("Relu", ["x"], ["y"], "relu"), node("Shape", ["x"], ["extents"], "shape")]
    shape: Extents = ["batch", 4, "width"]
    outputs = [value("y", FLOAT, shape), value("extents", INT64, [3])]
    return Model(
        make(nodes, [value("x", FLOAT, shape)], outputs),
        lambda x: (np.maximum(x.astype(np.float64), 0), np.array(x.shape)),
    )


def count_up() -> Model:
    """A scalar shape tensor: y = 0, 1, ... up to ``limit`` (excluded), int64."""
    weights: Weights = {"zero": np.array(0, np.int64), "one": np.array(1, np.int64)}
    nodes = [node("Range", ["zero", "limit", "one"], ["y"], "range")]
    proto = make(nodes, [value("limit", INT64, [])], [value("y", INT64, ["count"])], weights)
    return Model(proto, lambda limit: np.arange(limit))


def by_its_own_shape() -> Model:
    """What a shape tensor says, as data: x ``[batch, 64]`` times batch, and plus each row's number.

    The host knows both factors, and may hand them to the GPU when it is told the shape.
    """
    weights: Weights = {
        "first": np.array(0, np.int64),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "column": np.array([1], np.int64),
    }
    nodes = [
        node("Shape", ["x"], ["extents"], "shape"),
        node("Gather", ["extents", "first"], ["batch"], "batch", axis=0),
        node("Cast", ["batch"], ["factor"], "factor", to=FLOAT),
        node("Mul", ["x", "factor"], ["scaled"], "scale"),
        node("Range", ["zero", "batch", "one"], ["counted"], "count"),
        node("Cast", ["counted"], ["numbers"], "numbers", to=FLOAT),
        node("Unsqueeze", ["numbers", "column"], ["rows"], "rows"),
        node("Add", ["x", "rows"], ["numbered"], "number"),
    ]
    outputs = [value(name, FLOAT, ["batch", 64]) for name in ("scaled", "numbered")]

    def reference(x: Array) -> tuple[Array, ...]:
        wide = x.astype(np.float64)
        return wide * len(x), wide + np.arange(len(x))[:, None]

    return Model(make(nodes, [value("x", FLOAT, ["batch", 64])], outputs, weights), reference)


def _positives() -> tuple[list[NodeProto], dict[str, Array]]:
    """k ``[1]`` int64: how many elements of x are above 0."""
    nodes = [
        node("Greater", ["x", "zero"], ["above"], "above"),
        node("Cast", ["above"], ["ones"], "ones", to=FLOAT),
        node("ReduceSum", ["ones"], ["sum"], "sum", keepdims=1),
        node("Cast", ["sum"], ["k"], "k", to=INT64),
    ]
    return nodes, {"zero": np.array(0, np.float32)}


def cut_by_data() -> Model:
    """Two outputs whose extents depend on the data: with k positive elements, x[:k] and x[k:]."""
    nodes, weights = _positives()
    weights |= {"begin": np.array([0], np.int64), "end": np.array([2**31 - 1], np.int64)}
    nodes += [
        node("Slice", ["x", "begin", "k"], ["head"], "head"),
        node("Slice", ["x", "k", "end"], ["tail"], "tail"),
    ]
    outputs = [value("head", FLOAT, ["heads"]), value("tail", FLOAT, ["tails"])]

    def reference(x: Array) -> tuple[Array, Array]:
        k = int((x > 0).sum())
        return x[:k].astype(np.float64), x[k:].astype(np.float64)

    return Model(make(nodes, [value("x", FLOAT, ["n"])], outputs, weights), reference)


def range_by_data() -> Model:
    """An int64 output whose extent depends on the data: 0, 1, ... as many as x has positives."""
    nodes, weights = _positives()
    weights |= {"from": np.array(0, np.int64), "step": np.array(1, np.int64)}
    nodes += [
        node("Squeeze", ["k"], ["limit"], "limit"),
        node("Range", ["from", "limit", "step"], ["y"], "range"),
    ]
    outputs = [value("y", INT64, ["found"])]
    proto = make(nodes, [value("x", FLOAT, ["n"])], outputs, weights)
    return Model(proto, lambda x: np.arange((x > 0).sum()))


def suppression(boxes: int | str = 32, classes: int = 2, most: int = 8) -> Model:
    """NonMaxSuppression: rows of (batch, class, box), as many as are left of the boxes.

    boxes ``[1, boxes, 4]`` as (y1, x1, y2, x2), scores ``[1, classes, boxes]``. Boxes go when they
    overlap a better one by more than half; at most ``most`` a class, of scores above 0.1.
    """
    weights: Weights = {
        "most": np.array([most], np.int64),
        "overlap": np.array([0.5], np.float32),
        "least": np.array([0.1], np.float32),
    }
    nodes = [
        node(
            "NonMaxSuppression",
            ["boxes", "scores", "most", "overlap", "least"],
            ["selected"],
            "suppress",
        )
    ]
    inputs = [value("boxes", FLOAT, [1, boxes, 4]), value("scores", FLOAT, [1, classes, boxes])]
    outputs = [value("selected", INT64, ["found", 3])]

    def overlap(a: Array, b: Array) -> float:
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        shared = float(np.prod(np.maximum(high - low, 0)))
        return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)

    def reference(boxes: Array, scores: Array) -> Array:
        selected: list[tuple[int, int, int]] = []
        for kind, row in enumerate(scores[0]):
            kept: list[int] = []
            for box in np.argsort(-row):
                wanted = row[box] > 0.1 and len(kept) < most
                if wanted and all(overlap(boxes[0, box], boxes[0, k]) <= 0.5 for k in kept):
                    kept.append(int(box))
            selected += [(0, kind, box) for box in kept]
        return np.array(selected, np.int64).reshape(-1, 3)

    return Model(make(nodes, inputs, outputs, weights), reference)


def int8_edges(shape: tuple[int, ...] = (2, 16), scale: float = 0.25) -> tuple[Model, Model]:
    """`dequantize` and `quantize` for INT8 as opset 13 writes them, with a zero point."""
    weights: Weights = {"scale": np.array(scale, np.float32), "zero": np.array(0, np.int8)}
    x8, y = value("x", TensorProto.INT8, shape), value("y", FLOAT, shape)
    x, y8 = value("x", FLOAT, shape), value("y", TensorProto.INT8, shape)
    reading = [
        node("DequantizeLinear", ["x", "scale", "zero"], ["wide"], "dequantize"),
        node("Relu", ["wide"], ["y"], "relu"),
    ]
    writing = [
        node("Relu", ["x"], ["positive"], "relu"),
        node("QuantizeLinear", ["positive", "scale", "zero"], ["y"], "quantize"),
    ]

    def quantized(x: Array) -> Array:
        rounded = np.rint(np.maximum(x.astype(np.float64), 0) / scale)
        return np.minimum(rounded, 127).astype(np.int8)

    return (
        Model(
            make(reading, [x8], [y], weights, opset=OPSET),
            lambda x: np.maximum(x.astype(np.float64) * scale, 0),
        ),
        Model(make(writing, [x], [y8], weights, opset=OPSET), quantized),
    )
