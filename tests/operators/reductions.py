"""Reductions, and what else goes along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from operators.case import Case, Parameter
from operators.values import FLOATS, INTS, draw, dtype, dtypes, edges, opsets, over_versions

_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)
_AXES: tuple[list[int] | None, ...] = (None, [0], [-1], [0, 2], [1, -1], [2, 1], [-3])


def cases() -> Iterator[Case]:
    for operator in _REDUCTIONS:
        yield from _reductions(operator)
    for operator in ("ArgMax", "ArgMin"):
        yield from _arguments(operator)
    for operator in ("Softmax", "LogSoftmax", "Hardmax"):
        yield from _softmax(operator)
    yield from _cumulative()
    yield from _top()
    yield from _normalized()


def _reduction(
    operator: str, label: str, x: Any, axes: list[int] | None, opset: int, **attributes: Any
) -> Case:
    has_input = opset >= (13 if operator == "ReduceSum" else 18)
    if has_input:
        inputs = (x,) if axes is None else (x, Parameter(np.array(axes, np.int64)))
        return Case(operator, label, inputs, attributes, opset)
    if axes is not None:
        attributes["axes"] = axes
    return Case(operator, label, (x,), attributes, opset)


def _reductions(operator: str) -> Iterator[Case]:
    for opset, name in over_versions(operator):
        x = draw(name, (2, 3, 4), operator)
        x = np.abs(x) if operator == "ReduceLogSum" else x
        for axes in _AXES if name == "float32" or name == "int64" else _AXES[:3]:
            for keep in (0, 1):
                label = f"{name} {axes} {keep}"
                yield _reduction(operator, label, x, axes, opset, keepdims=keep)
    newest = opsets(operator)[0]
    x = np.abs(draw("float32", (2, 3, 4), operator))
    for noop in (0, 1):
        for axes in (None, []):
            label = f"noop {noop} {axes}"
            yield _reduction(operator, label, x, axes, newest, noop_with_empty_axes=noop)
    for shape in ((), (5,), (1,), (3, 4), (2, 3, 2, 2, 2), (2, 1, 2, 2, 1, 2)):
        y = np.abs(draw("float32", shape, operator))
        yield _reduction(operator, f"{shape} all", y, None, newest)
        if shape:
            yield _reduction(operator, f"{shape} last", y, [-1], newest, keepdims=0)
            yield _reduction(operator, f"{shape} first", y, [0], newest, keepdims=0)
    if operator not in ("ReduceMax", "ReduceMin"):
        yield _reduction(operator, "empty", np.zeros((2, 0, 3), np.float32), [1], newest)
    yield _reduction(operator, "empty result", np.zeros((2, 0, 3), np.float32), [0], newest)
    for name in dtypes(operator, newest):
        e = edges(name)
        if name in INTS and operator not in ("ReduceMax", "ReduceMin"):
            e = e[np.abs(e) < 2**15]  # sums and products that fit
        if name in FLOATS and operator == "ReduceMean":
            e = e[~(np.abs(e.astype(np.float64)) > 1e4)]
        column = np.stack([e, e], 1)
        yield _reduction(operator, f"{name} edges", column, [1], newest)
        if name in FLOATS:
            mixed = np.array([[1, np.nan, 3], [np.inf, 1, 2], [-np.inf, 0, 1], [5, 6, np.nan]])
            yield _reduction(operator, f"{name} nan", mixed.astype(dtype(name)), [1], newest)
            big = np.array([[100, 101], [-100, -101], [60000, 1]]).astype(dtype(name))
            yield _reduction(operator, f"{name} large", big, [1], newest)
            wide = draw(name, (3, 1000), operator)
            wide = np.abs(wide) if operator == "ReduceLogSum" else wide
            if operator != "ReduceProd":
                yield _reduction(operator, f"{name} long", wide, [1], newest)
                heavy = (draw(name, (2, 3000), operator, 1.0) + 100).astype(dtype(name))
                yield _reduction(operator, f"{name} heavy", heavy, [1], newest)
        elif name in INTS:
            big = np.array([[2**24 + 1, 1], [2**24 + 3, 2], [-(2**24) - 1, 3]]).astype(name)
            yield _reduction(operator, f"{name} beyond float", big, [1], newest)


def _arguments(operator: str) -> Iterator[Case]:
    for opset, name in over_versions(operator):
        x = draw(name, (2, 3, 4), operator)
        for axis in (0, 1, -1):
            for keep in (0, 1):
                attributes = {"axis": axis, "keepdims": keep}
                yield Case(operator, f"{name} {axis} {keep}", (x,), attributes, opset)
    newest = opsets(operator)[0]
    for name in dtypes(operator, newest):
        ties = np.array([[1, 3, 3, 1], [2, 2, 2, 2], [4, 1, 4, 1]]).astype(dtype(name))
        for last in (0, 1):
            attributes = {"axis": 1, "select_last_index": last}
            yield Case(operator, f"{name} ties {last}", (ties,), attributes, newest)
    x = np.array([[1, np.nan, 3], [np.inf, 1, 2], [-np.inf, -1, 0]], np.float32)
    yield Case(operator, "nan", (x,), {"axis": 1}, newest)
    for shape in ((5,), (1,), (1, 4), (2, 3, 2, 2), (2, 2, 2, 2, 2)):
        y = draw("float32", shape, operator)
        yield Case(operator, f"{shape}", (y,), {}, newest)
        yield Case(operator, f"{shape} last", (y,), {"axis": -1, "keepdims": 0}, newest)
    large = np.array([[2**24, 2**24 + 1, 5], [2**24 + 1, 2**24, 2**24 + 2]])
    for name in INTS:
        yield Case(operator, f"{name} beyond float", (large.astype(name),), {"axis": 1}, newest)
    if "int64" in dtypes(operator, newest):
        large = np.array([[2**53, 2**53 + 1, 5], [2**62 + 1, 2**62, 1]], np.int64)
        yield Case(operator, "int64 beyond double", (large,), {"axis": 1}, newest)


def _softmax(operator: str) -> Iterator[Case]:
    for opset in opsets(operator):
        for shape in ((4,), (3, 4), (2, 3, 4), (2, 3, 2, 2), (2, 2, 2, 2, 2), (1, 1), (3, 1)):
            for axis in (None, *range(-len(shape), len(shape))):
                attributes = {} if axis is None else {"axis": axis}
                x = draw("float32", shape, operator)
                if axis is None and len(shape) == 1 and opset < 13:
                    continue
                if opset < 11 and axis is not None and axis < 0:
                    continue
                yield Case(operator, f"{shape} {axis}", (x,), attributes, opset)
    newest = opsets(operator)[0]
    for name in FLOATS:
        yield Case(operator, name, (draw(name, (3, 4, 5), operator),), {}, newest)
        rows = [[100, 200, 300], [-1000, 0, 1000], [6e4, 6e4, 1], [1, 1, 1], [-6e4, -6e4, -6e4]]
        yield Case(operator, f"{name} large", (np.array(rows).astype(dtype(name)),), {}, newest)
        rows = [[-np.inf, 0, 1], [-np.inf, -np.inf, 1], [np.nan, 0, 1], [np.inf, 0, 1]]
        yield Case(operator, f"{name} inf", (np.array(rows).astype(dtype(name)),), {}, newest)
        yield Case(operator, f"{name} long", (draw(name, (2, 3000), operator),), {}, newest)
    yield Case(operator, "empty", (np.zeros((0, 3), np.float32),), {}, newest)


def _cumulative() -> Iterator[Case]:
    for name in dtypes("CumSum", 14):
        x = draw(name, (2, 3, 4), "cumsum")
        for axis in (0, 1, -1):
            for exclusive in (0, 1):
                for reverse in (0, 1):
                    attributes = {"exclusive": exclusive, "reverse": reverse}
                    for kind in (np.int32, np.int64) if name == "float32" else (np.int64,):
                        yield Case(
                            "CumSum",
                            f"{name} {axis} {exclusive} {reverse} {kind.__name__}",
                            (x, Parameter(np.array(axis, kind))),
                            attributes,
                            14,
                        )
    for shape in ((5,), (1,), (3, 1), (2, 0, 3), (2, 3, 2, 2, 2)):
        x = draw("float32", shape, "cumsum")
        yield Case("CumSum", f"{shape}", (x, Parameter(np.array(0, np.int64))), {}, 14)
        yield Case("CumSum", f"{shape} of one", (x, Parameter(np.array([0], np.int64))), {}, 14)


def _top() -> Iterator[Case]:
    for name in dtypes("TopK", 11):
        x = (
            draw(name, (2, 3, 8), "topk")
            if name not in INTS
            else np.argsort(draw("float32", (2, 3, 8), "topk")).astype(name)
        )
        for axis in (0, 1, -1):
            for largest in (0, 1):
                for k in (1, 2) if axis != -1 else (1, 5, 8):
                    attributes = {"axis": axis, "largest": largest}
                    inputs = (x, Parameter(np.array([k], np.int64)))
                    label = f"{name} {axis} {largest} {k}"
                    yield Case("TopK", label, inputs, attributes, 11, (True, True))
    x = draw("float32", (3, 20), "topk")
    three = Parameter(np.array([3], np.int64))
    yield Case("TopK", "10", (x, three), {}, 10, (True, True))
    yield Case("TopK", "values alone", (x, three), {}, 11, (True, False))
    yield Case("TopK", "indices alone", (x, three), {}, 11, (False, True))
    ties = np.array([[1, 3, 3, 1, 3], [2, 2, 2, 2, 2]], np.float32)
    yield Case("TopK", "ties", (ties, three), {}, 11, (True, True))
    yield Case("TopK", "vector", (x[0], three), {"axis": 0}, 11, (True, True))
    large = np.array([2**53 + 1, 2**53, 2**53 + 2, 5, -(2**60)], np.int64)
    yield Case("TopK", "int64 large", (large, three), {"axis": 0}, 11, (True, True))
    large = np.array([2**24 + 1, 2**24, 2**24 + 2, 5, -(2**30)], np.int32)
    yield Case("TopK", "int32 large", (large, three), {"axis": 0}, 11, (True, True))
    wide = draw("float32", (2, 5000), "topk")
    for k in (100, 3840, 5000):
        yield Case(
            "TopK", f"wide {k}", (wide, Parameter(np.array([k], np.int64))), {}, 11, (True, True)
        )


def _normalized() -> Iterator[Case]:
    for shape in ((3, 4), (2, 3, 4), (2, 3, 4, 5)):
        x = draw("float32", shape, "lp")
        for axis in (None, 0, 1, -1):
            for p in (None, 1, 2):
                attributes = {k: v for k, v in (("axis", axis), ("p", p)) if v is not None}
                yield Case("LpNormalization", f"{shape} {axis} {p}", (x,), attributes)
    zeros = np.array([[0, 0, 0], [1, 2, 2]], np.float32)
    yield Case("LpNormalization", "zeros", (zeros,), {})
    yield Case("LpNormalization", "zeros p=1", (zeros,), {"p": 1})
    x = draw("float32", (2, 3, 4, 5), "mvn")
    for axes in (None, [0, 2, 3], [1], [-1], [0, 1, 2, 3]):
        over: dict[str, Any] = {} if axes is None else {"axes": axes}
        yield Case("MeanVarianceNormalization", f"{axes}", (x,), over, 13)
        yield Case("MeanVarianceNormalization", f"{axes}", (x,), over, 9)
