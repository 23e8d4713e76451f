"""Reshapes, transposes, slices, pads and joins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from operators.case import Case, Parameter
from operators.values import DTYPES, SHAPES, draw, dtypes


def cases() -> Iterator[Case]:
    yield from _reshapes()
    yield from _transposes()
    yield from _squeezes()
    yield from _broadcasts()
    yield from _joins()
    yield from _splits()
    yield from _slices()
    yield from _pads()


def _int64(*values: int) -> Parameter:
    return Parameter(np.array(values, np.int64))


def _reshapes() -> Iterator[Case]:
    x = draw("float32", (2, 3, 4), "reshape")
    for target in (
        (6, 4),
        (-1,),
        (0, -1),
        (2, 0, 2, 2),
        (0, 0, 4),
        (24,),
        (1, 24, 1),
        (-1, 0, 2),
        (1, 2, 1, 3, 1, 4),
        (4, 3, 2),
    ):
        for opset in (5 + 2, 13, 14, 21):
            yield Case("Reshape", f"{target}", (x, _int64(*target)), {}, opset)
    yield Case("Reshape", "to scalar", (x[:1, :1, :1], Parameter(np.zeros(0, np.int64))), {}, 14)
    yield Case("Reshape", "of scalar", (x[0, 0, 0], _int64(1, 1)), {}, 14)
    empty = np.zeros((0, 3), np.float32)
    yield Case("Reshape", "allowzero", (empty, _int64(3, 0)), {"allowzero": 1}, 14)
    yield Case("Reshape", "empty", (empty, _int64(0, 3, 1)), {}, 14)
    for name in DTYPES:
        yield Case("Reshape", name, (draw(name, (2, 6), "reshape"), _int64(3, -1)), {}, 21)
    for shape in SHAPES:
        y = draw("float32", shape, "flatten")
        for axis in (None, *range(-len(shape), len(shape) + 1)):
            attributes = {} if axis is None else {"axis": axis}
            yield Case("Flatten", f"{shape} {axis}", (y,), attributes, 13)


def _transposes() -> Iterator[Case]:
    for shape, perm in (
        ((3, 4), None),
        ((3, 4), [1, 0]),
        ((2, 3, 4), None),
        ((2, 3, 4), [1, 2, 0]),
        ((2, 3, 4, 5), [0, 2, 3, 1]),
        ((2, 3, 4, 5), [3, 1, 0, 2]),
        ((5,), None),
        ((), None),
        ((2, 1, 3, 2, 2), [4, 0, 3, 1, 2]),
        ((1, 2, 3, 1, 2, 2), None),
        ((2, 0, 3), [2, 0, 1]),
        ((1, 1, 5), [2, 1, 0]),
    ):
        attributes = {} if perm is None else {"perm": perm}
        for name in ("float32", "int64", "bool", "uint8"):
            x = draw(name, shape, "transpose")
            yield Case("Transpose", f"{name} {shape} {perm}", (x,), attributes, 21)
    for name in DTYPES:
        x = draw(name, (3, 4), "transpose")
        yield Case("Transpose", f"{name}", (x,), {}, 13)


def _squeezes() -> Iterator[Case]:
    x = draw("float32", (1, 3, 1, 2), "squeeze")
    for axes in ([0], [2], [0, 2], [-2], [-4, 2], [2, 0]):
        yield Case("Squeeze", f"{axes}", (x, _int64(*axes)), {}, 13)
        yield Case("Squeeze", f"{axes}", (x,), {"axes": axes}, 11)
    for opset in (7, 11, 13, 21):
        yield Case("Squeeze", "all", (x,), {}, opset)
    y = draw("float32", (3, 4), "squeeze")
    for axes in ([0], [1], [2], [-1], [-3], [0, 3], [3, 0], [1, -1], [-1, 0]):
        yield Case("Unsqueeze", f"{axes}", (y, _int64(*axes)), {}, 13)
        yield Case("Unsqueeze", f"{axes}", (y,), {"axes": axes}, 11)
    for name in DTYPES:
        one = draw(name, (), "squeeze")
        yield Case("Unsqueeze", f"{name} scalar", (one, _int64(0)), {}, 21)
        yield Case("Squeeze", f"{name} to scalar", (one.reshape(1), _int64(0)), {}, 21)


def _broadcasts() -> Iterator[Case]:
    for shape, target in (
        ((3, 1), (3, 4)),
        ((1,), (2, 3)),
        ((), (2, 3)),
        ((3, 1), (2, 1, 4)),
        ((3, 4), (1,)),
        ((3, 4), (1, 1)),
        ((2, 1, 3), (1, 4, 1)),
        ((3,), (0, 3)),
        ((1, 1), (2, 3, 4, 5, 2)),
        ((), ()),
    ):
        for name in ("float32", "int64", "bool", "uint8"):
            x = draw(name, shape, "expand")
            yield Case("Expand", f"{name} {shape} {target}", (x, _int64(*target)), {}, 13)
    for shape, repeats in (
        ((3, 4), (1, 1)),
        ((3, 4), (2, 3)),
        ((3,), (4,)),
        ((2, 3, 2), (1, 2, 3)),
        ((3, 4), (0, 2)),
        ((1, 1), (5, 1)),
    ):
        for name in dtypes("Tile", 13):
            x = draw(name, shape, "tile")
            yield Case("Tile", f"{name} {shape} {repeats}", (x, _int64(*repeats)), {}, 13)


def _joins() -> Iterator[Case]:
    for name in DTYPES:
        a, b, c = (draw(name, s, "concat") for s in ((2, 3, 4), (2, 1, 4), (2, 0, 4)))
        for axis in (1, -2):
            yield Case("Concat", f"{name} {axis}", (a, b, a), {"axis": axis}, 13)
        yield Case("Concat", f"{name} of one", (a,), {"axis": 0}, 13)
        yield Case("Concat", f"{name} empty", (a, c, b), {"axis": 1}, 13)
        yield Case("Concat", f"{name} vectors", (a[0, 0], b[0, 0]), {"axis": 0}, 13)
    wide = draw("float32", (1, 2, 2, 2, 2), "concat")
    for axis in range(-5, 5):
        yield Case("Concat", f"rank 5 {axis}", (wide, wide), {"axis": axis}, 13)
    many = tuple(draw("float32", (2, 1), f"{i}") for i in range(40))
    yield Case("Concat", "of 40", many, {"axis": 1}, 13)


def _splits() -> Iterator[Case]:
    x = draw("float32", (2, 7, 4), "split")
    for sizes, axis in (([3, 4], 1), ([1, 2, 4], -2), ([0, 7], 1), ([7], 1), ([1, 1], 0), ([4], 2)):
        there = (True,) * len(sizes)
        for opset in (13, 18):
            label = f"{sizes} {axis}"
            yield Case("Split", label, (x, _int64(*sizes)), {"axis": axis}, opset, there)
        yield Case("Split", f"{sizes} {axis}", (x,), {"axis": axis, "split": sizes}, 11, there)
    for count, axis in ((2, 1), (3, 1), (4, -2), (2, 0), (7, 1), (3, 2)):
        if axis == 2 and count == 3:
            there = (True, True)
            yield Case("Split", "even 2", (x,), {"axis": 2, "num_outputs": 2}, 18, there)
            continue
        there = (True,) * count
        attributes = {"axis": axis, "num_outputs": count}
        yield Case("Split", f"in {count} {axis}", (x,), attributes, 18, there)
    yield Case("Split", "in 2", (x,), {}, 13, (True, True))
    yield Case("Split", "first alone", (x,), {"axis": 2}, 13, (True, False))
    yield Case("Split", "second alone", (x,), {"axis": 2}, 13, (False, True))
    for name in DTYPES:
        y = draw(name, (4, 3), "split")
        yield Case("Split", name, (y, _int64(1, 3)), {"axis": 0}, 18, (True, True))


_CUTS: tuple[tuple[list[int], list[int], list[int] | None, list[int] | None], ...] = (
    ([0, 0], [2, 3], None, None),
    ([1], [3], [0], None),
    ([1], [2**31 - 1], [-1], None),
    ([1], [2**63 - 1], [1], [2]),
    ([-2], [100], [1], None),
    ([-1], [-6], [1], [-1]),
    ([5], [-(2**63)], [1], [-2]),
    ([100], [0], [0], [-1]),
    ([3], [3], [0], None),
    ([4, 0], [0, 5], [1, 0], [-3, 2]),
    ([0], [-1], [-2], [3]),
    ([-100], [3], [0], None),
    ([1, 1, 0], [3, 4, 2], [0, 1, 2], None),
    ([2], [-(2**31)], [0], [-1]),
    ([10], [20], [1], None),
    ([0, 1], [2, -1], [2, 0], [1, 1]),
)


def _slices() -> Iterator[Case]:
    x = draw("float32", (4, 5, 3), "slice")
    for starts, ends, axes, steps in _CUTS:
        label = f"{starts} {ends} {axes} {steps}"
        for kind in (np.int64, np.int32):
            if kind == np.int32 and max(map(abs, (*starts, *ends))) >= 2**31:
                continue
            parameters = [
                None if value is None else Parameter(np.array(value, kind))
                for value in (starts, ends, axes, steps)
            ]
            while parameters[-1] is None:
                parameters.pop()
            yield Case("Slice", f"{label} {kind.__name__}", (x, *parameters), {}, 13)
        if steps is None:
            attributes = {"starts": starts, "ends": ends} | ({"axes": axes} if axes else {})
            yield Case("Slice", label, (x,), attributes, 7)
    for name in DTYPES:
        y = draw(name, (4, 5), "slice")
        cut = _int64(3), _int64(-6), _int64(1), _int64(-1)
        yield Case("Slice", name, (y, *cut), {}, 13)
    yield Case("Slice", "at run time", (x, np.array([1]), np.array([3]), np.array([0])), {}, 13)


def _pads() -> Iterator[Case]:
    x = draw("float32", (2, 3, 4), "pad")
    for pads in (
        [0, 1, 2, 0, 0, 1],
        [0, 0, 0, 0, 2, 3],
        [1, 0, 0, 1, 0, 0],
        [0, -1, 0, 0, 0, -2],
        [0, 1, -1, 0, 1, -1],
        [0, 0, 0, 0, 0, 0],
        [0, 2, 1, 0, -1, 2],
    ):
        for mode in ("constant", "reflect", "edge", "wrap"):
            if mode != "constant" and (pads[0] or min(pads) < 0):
                continue
            opset = 19 if mode == "wrap" else 18
            yield Case("Pad", f"{pads} {mode}", (x, _int64(*pads)), {"mode": mode}, opset)
            if mode != "wrap":
                yield Case("Pad", f"{pads} {mode}", (x,), {"mode": mode, "pads": pads}, 7)
    value = Parameter(np.array(1.5, np.float32))
    some = _int64(1, 0, 2, 0)
    yield Case("Pad", "value", (x, _int64(0, 1, 2, 0, 0, 1), value), {}, 13)
    yield Case("Pad", "value of 7", (x,), {"pads": [0, 1, 2, 0, 0, 1], "value": -2.5}, 7)
    yield Case("Pad", "axes", (x, some, value, _int64(0, 2)), {}, 18)
    yield Case("Pad", "negative axes", (x, some, value, _int64(-1, -3)), {}, 18)
    yield Case("Pad", "axes, no value", (x, some, None, _int64(2, 1)), {}, 18)
    yield Case("Pad", "reflect axes", (x, _int64(1, 1), None, _int64(-1)), {"mode": "reflect"}, 18)
    for infinite in (np.inf, -np.inf, np.nan):
        limit = Parameter(np.array(infinite, np.float32))
        yield Case("Pad", f"{infinite}", (x, _int64(0, 1, 2, 0, 0, 1), limit), {}, 13)
    for name in DTYPES:
        y = draw(name, (2, 3), "pad")
        fill = Parameter(np.array(1).astype(y.dtype))
        yield Case("Pad", f"{name}", (y, _int64(0, 1, 1, 0)), {}, 18)
        yield Case("Pad", f"{name} value", (y, _int64(0, 1, 1, 0), fill), {}, 18)
        yield Case("Pad", f"{name} edge", (y, _int64(0, 1, 1, 0)), {"mode": "edge"}, 18)
    for shape in ((5,), (2, 2, 3, 4), (1, 2, 2, 3, 3)):
        z = draw("float32", shape, "pad")
        for mode in ("constant", "reflect", "edge", "wrap"):
            pads = [0] * (len(shape) - 1) + [1] + [0] * (len(shape) - 1) + [2]
            yield Case("Pad", f"{shape} {mode}", (z, _int64(*pads)), {"mode": mode}, 19)
