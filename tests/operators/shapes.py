"""Shapes, constants, ranges, and sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from operators.case import Case, Parameter
from operators.values import DTYPES, SHAPES, draw, dtype, dtypes, opsets


def cases() -> Iterator[Case]:
    yield from _shapes()
    yield from _sequences()


def _int64(*values: int) -> Parameter:
    return Parameter(np.array(values, np.int64))


def _shapes() -> Iterator[Case]:
    for shape in (*SHAPES, (2, 0, 3)):
        x = draw("float32", shape, "shape")
        yield Case("Size", f"{shape}", (x,), {}, 13)
        for start, end in (
            (None, None),
            (1, None),
            (-2, None),
            (0, -1),
            (-100, 100),
            (1, 2),
            (2, 1),
        ):
            attributes = {k: v for k, v in (("start", start), ("end", end)) if v is not None}
            yield Case("Shape", f"{shape} {start} {end}", (x,), attributes, 15)

    for name in (None, *DTYPES):
        for target in ((2, 3), (4,), (), (0, 2), (1, 2, 1, 2, 1)):
            attributes = {}
            if name is not None:
                attributes["value"] = numpy_helper.from_array(np.array([3]).astype(dtype(name)))
            inputs = (np.array(target, np.int64),)
            yield Case("ConstantOfShape", f"{name} {target}", inputs, attributes, 20, is_exact=True)
    for name in dtypes("Range", 11):
        for start, limit, delta in (
            (0, 5, 1),
            (3, 10, 2),
            (10, 2, -3),
            (0, 10, 3),
            (5, 5, 1),
            (5, 2, 1),
            (-3, 3, 1),
        ):
            ends = tuple(np.array(v).astype(dtype(name)) for v in (start, limit, delta))
            label = f"{name} {start} {limit} {delta}"
            yield Case("Range", label, ends, {}, 11, is_exact=True)
    ends = tuple(np.array(v, np.float32) for v in (0.0, 1.0, 0.1))
    yield Case("Range", "tenths", ends, {}, 11, is_exact=True)
    ends = tuple(np.array(v, np.int64) for v in (2**53 + 1, 2**53 + 5, 1))
    yield Case("Range", "large", ends, {}, 11, is_exact=True)


def _sequences() -> Iterator[Case]:
    x = draw("float32", (4, 3, 2), "reverse")
    for name in ("float32", "int64", "bool", "uint8"):
        y = draw(name, (4, 3, 2), "reverse")
        lengths = np.array([1, 4, 2], np.int64)
        yield Case("ReverseSequence", f"{name}", (y, lengths), {}, 10)
        attributes = {"time_axis": 1, "batch_axis": 0}
        lengths = np.array([1, 3, 2, 3], np.int64)
        yield Case("ReverseSequence", f"{name} batch first", (y, lengths), attributes, 10)
    for target, axes in (((2, 5, 2), None), ((6, 1), [0, 2]), ((2,), [-1]), ((5, 2), [-3, 1])):
        cropped: dict[str, Any] = {} if axes is None else {"axes": axes}
        yield Case("CenterCropPad", f"{target} {axes}", (x, _int64(*target)), cropped, 18)
    for opset, more in ((7, ()), (12, (Parameter(np.array(0.3, np.float32)),)), (13, ()), (22, ())):
        yield Case("Dropout", "", (x, *more), {}, opset)
        if opset >= 12:
            yield Case("Dropout", "mask", (x,), {}, opset, (True, True))
    for opset in opsets("Constant"):
        yield from _constants(opset)


def _constants(opset: int) -> Iterator[Case]:

    values: dict[str, Any] = {}
    if opset >= 12:
        values = {
            "value_float": 2.5,
            "value_floats": [1.5, -2.0],
            "value_int": 3,
            "value_ints": [3, -4],
        }
    for key, value in values.items():
        is_float = "float" in key
        x = draw("float32" if is_float else "int64", (2,), "constant")

        def nodes(key: str = key, value: Any = value) -> list[Any]:
            return [
                helper.make_node("Constant", [], ["c"], **{key: value}),
                helper.make_node("Add", ["i0", "c"], ["o0"]),
            ]

        yield Case("Constant", key, (x,), {}, opset, nodes=nodes, is_exact=True)
