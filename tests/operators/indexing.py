"""Gathers and scatters, and what moves elements by a rule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from operators.case import Case, Parameter
from operators.values import DTYPES, draw, dtype


def cases() -> Iterator[Case]:
    yield from _gathers()
    yield from _scatters()
    yield from _one_hot()
    yield from _blocks()
    yield from _triangles()


def _int64(*values: int) -> Parameter:
    return Parameter(np.array(values, np.int64))


def _gathers() -> Iterator[Case]:
    for name in DTYPES:
        x = draw(name, (3, 4, 5), "gather")
        for axis, index in product((0, 1, -1), ([0, 2, 1], [-1, -3, 0], 2, -1, [[0, 1], [2, -2]])):
            for kind in (np.int64, np.int32) if name == "float32" else (np.int64,):
                label = f"{name} {axis} {index} {kind.__name__}"
                indices = np.array(index, kind)
                yield Case("Gather", label, (x, indices), {"axis": axis}, 13)
    x = draw("float32", (3, 4, 5), "gather")
    yield Case("Gather", "older", (x, np.array([0, 2])), {}, 7)
    yield Case("Gather", "vector scalar", (x[0, 0], np.array(-2)), {}, 13)
    yield Case("Gather", "empty", (x, np.zeros((0,), np.int64)), {}, 13)
    yield Case("Gather", "empty rank 2", (x, np.zeros((2, 0), np.int64)), {"axis": 1}, 13)
    wide = draw("float32", (2, 2, 2, 2, 2), "gather")
    yield Case("Gather", "rank 6", (wide, np.array([[0, 1], [1, -2]])), {"axis": 3}, 13)
    for name in DTYPES:
        y = draw(name, (3, 4), "gather elements")
        for axis, index in (
            (0, [[0, 2, 1, 0], [-1, -3, 2, 1]]),
            (1, [[0], [3], [-4]]),
            (-1, [[0, 3], [1, -1], [-2, 2]]),
        ):
            inputs = (y, np.array(index, np.int64))
            yield Case("GatherElements", f"{name} {axis}", inputs, {"axis": axis}, 13)
    vector = draw("float32", (5,), "gather elements")
    yield Case("GatherElements", "vector", (vector, np.array([-1, 2, -5])), {}, 13)
    small = np.array([[[0], [1]]], np.int32)
    yield Case("GatherElements", "int32", (x, small), {"axis": 2}, 13)
    for name in DTYPES:
        z = draw(name, (2, 3, 4), "gather nd")
        for label, batch, index in (
            ("tuples", 0, [[0, 1], [1, -1], [-2, 2]]),
            ("whole", 0, [[0, 0, 0], [-1, -1, -1]]),
            ("rows", 0, [[1], [-2]]),
            ("batched", 1, [[1], [-1]]),
            ("batched pairs", 1, [[[0, 3]], [[-1, -4]]]),
            ("batched twice", 2, [[[0], [1], [-1]], [[2], [3], [-4]]]),
        ):
            inputs = (z, np.array(index, np.int64))
            yield Case("GatherND", f"{name} {label}", inputs, {"batch_dims": batch}, 13)


def _scatters() -> Iterator[Case]:
    for name in DTYPES:
        x = draw(name, (3, 4), "scatter")
        updates = draw(name, (2, 3), "updates")
        for label, axis, index in (
            ("plain", 0, [[0, 2, 1], [1, 0, 2]]),
            ("negative", 0, [[-1, -2, -3], [1, 0, -2]]),
            ("columns", 1, [[0, 3, 1], [2, 1, 0]]),
            ("last", -1, [[0, -1, 1], [-4, -2, -1]]),
        ):
            inputs = (x, np.array(index, np.int64), updates)
            yield Case("ScatterElements", f"{name} {label}", inputs, {"axis": axis}, 18)
            if name in ("float32", "int64"):
                yield Case("Scatter", f"{name} {label}", inputs, {"axis": axis}, 9)
                for reduction in ("add", "mul", "max", "min"):
                    attributes = {"axis": axis, "reduction": reduction}
                    yield Case(
                        "ScatterElements", f"{name} {label} {reduction}", inputs, attributes, 18
                    )
        twice = (x, np.array([[0, 0, 0], [0, 1, 1]], np.int64), updates)
        for reduction in ("add", "mul", "max", "min"):
            attributes = {"axis": 1, "reduction": reduction}
            yield Case("ScatterElements", f"{name} twice {reduction}", twice, attributes, 18)
    x = draw("float32", (5,), "scatter")
    y = draw("float32", (2, 3, 4, 2), "scatter")
    u = draw("float32", (1, 2, 2, 2), "scatter")
    yield Case("ScatterElements", "vector", (x, np.array([-1, 1]), x[:2] + 1), {"axis": 0}, 18)
    rows = np.array([-1, 1, 0, -2, 2, 1, -3, 0]).reshape(1, 2, 2, 2) % 3
    for axis in (1, -3):
        yield Case("ScatterElements", f"rank 4 {axis}", (y, rows, u), {"axis": axis}, 18)
        yield Case(
            "ScatterElements",
            f"rank 4 {axis} int32",
            (y, rows.astype(np.int32) - 3, u),
            {"axis": axis},
            18,
        )
    for name in DTYPES:
        z = draw(name, (3, 4, 2), "scatter nd")
        places: list[tuple[str, list[Any], tuple[int, ...]]] = [
            ("rows", [[0], [2]], (2, 4, 2)),
            ("negative rows", [[-1], [-3]], (2, 4, 2)),
            ("pairs", [[0, 1], [2, 3]], (2, 2)),
            ("negative pairs", [[-1, -1], [1, -4]], (2, 2)),
            ("elements", [[0, 1, 1], [2, 3, 0]], (2,)),
            ("negative elements", [[-1, -2, -1]], (1,)),
            ("rank 3", [[[0, 1], [1, 2]], [[2, 0], [-1, 1]]], (2, 2, 2)),
        ]
        for label, place, shape in places:
            inputs = (z, np.array(place, np.int64), draw(name, shape, "updates"))
            yield Case("ScatterND", f"{name} {label}", inputs, {}, 18)
            if name == "float32":
                yield Case("ScatterND", f"{name} {label}", inputs, {}, 11)
                for reduction in ("add", "mul", "max", "min"):
                    yield Case(
                        "ScatterND",
                        f"{name} {label} {reduction}",
                        inputs,
                        {"reduction": reduction},
                        18,
                    )
        twice = (z, np.array([[0], [0], [2]]), draw(name, (3, 4, 2), "updates"))
        for reduction in ("add", "mul", "max", "min"):
            yield Case(
                "ScatterND", f"{name} twice {reduction}", twice, {"reduction": reduction}, 18
            )


def _one_hot() -> Iterator[Case]:
    for index, kind in product(
        ([0, 2, 1], [-1, -4, 3], [[0, 5], [-5, 1]], 2), ("int64", "int32", "float32")
    ):
        for axis in (None, 0, -1, 1):
            indices = np.array(index).astype(kind)
            if axis == 1 and indices.ndim == 0:
                continue
            attributes = {} if axis is None else {"axis": axis}
            values = np.array([0.5, 3], np.float32)
            inputs = (indices, Parameter(np.array(4, np.int64)), values)
            yield Case("OneHot", f"{index} {kind} {axis}", inputs, attributes, 11)
    for name in DTYPES:
        zero_one = Parameter(np.array([0, 1]).astype(dtype(name)))
        for depth in (np.array(4, np.int64), np.array([4], np.int64), np.array(4.0, np.float32)):
            three = (np.array([0, 2, 1]), Parameter(depth), zero_one)
            yield Case("OneHot", f"{name} depth {depth.dtype}{depth.shape}", three, {}, 11)


def _blocks() -> Iterator[Case]:
    x = draw("float32", (2, 8, 2, 3), "blocks")
    for mode in (None, "DCR", "CRD"):
        attributes: dict[str, Any] = {"blocksize": 2} | ({} if mode is None else {"mode": mode})
        for name in ("float32", "float16", "int32", "uint8"):
            y = draw(name, (2, 8, 2, 3), "blocks")
            yield Case("DepthToSpace", f"{name} {mode}", (y,), attributes, 13)
    yield Case("DepthToSpace", "older", (x,), {"blocksize": 2}, 7)
    yield Case("DepthToSpace", "1", (x,), {"blocksize": 1}, 13)
    for name in ("float32", "float16", "int64", "bool"):
        z = draw(name, (2, 2, 4, 6), "blocks")
        yield Case("SpaceToDepth", name, (z,), {"blocksize": 2}, 13)
    nine = draw("float32", (1, 2, 6, 9), "blocks")
    yield Case("SpaceToDepth", "3", (nine,), {"blocksize": 3}, 13)
    yield Case(
        "DepthToSpace",
        "3",
        (draw("float32", (1, 18, 2, 1), "b"),),
        {"blocksize": 3, "mode": "CRD"},
        13,
    )


def _triangles() -> Iterator[Case]:
    for name, upper, k in product(DTYPES, (None, 0, 1), (None, -2, 0, 1, 9)):
        if name not in ("float32", "int64", "bool") and k not in (None, 1):
            continue
        x = draw(name, (2, 3, 4), "trilu")
        x = x + np.asarray(20).astype(x.dtype) if name != "bool" else x
        attributes = {} if upper is None else {"upper": upper}
        inputs = (x,) if k is None else (x, Parameter(np.array(k, np.int64)))
        yield Case("Trilu", f"{name} {upper} {k}", inputs, attributes, 14)
    yield Case("Trilu", "inf", (np.full((3, 3), -np.inf, np.float32),), {}, 14)
    yield Case("Trilu", "nan", (np.full((4, 3), np.nan, np.float32),), {"upper": 0}, 14)
    for shape, k, kind in product(
        ((3, 3), (2, 4), (4, 2)), (0, 1, -1, 5), (None, "float32", "int64", "float16", "bool")
    ):
        x = draw("float32", shape, "eye")
        attributes = {"k": k}
        if kind is not None:
            attributes["dtype"] = {"float32": 1, "int64": 7, "float16": 10, "bool": 9}[kind]
        yield Case("EyeLike", f"{shape} {k} {kind}", (x,), attributes, 9, is_exact=True)
