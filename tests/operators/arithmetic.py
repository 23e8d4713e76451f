"""Arithmetic whose types and signs matter, bounds, choices, and casts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import helper

from operators.case import Case, Parameter
from operators.values import (
    DTYPES,
    FLOATS,
    INTS,
    draw,
    dtype,
    dtypes,
    edges,
    nonzero,
)


def cases() -> Iterator[Case]:
    yield from _powers()
    yield from _divisions()
    yield from _clips()
    yield from _where()
    yield from _casts()


def _powers() -> Iterator[Case]:
    for base in (*FLOATS, *INTS):
        for exponent in (*FLOATS, *INTS):
            for value in (0, 1, 2, 3, -1) if exponent in INTS else (0, 0.5, 2, 3, -1):
                if base in INTS and value == -1:
                    continue
                x = nonzero(base, (3, 4), f"{exponent}{value}")
                x = np.abs(x) if value == 0.5 else x
                y = np.array(value).astype(dtype(exponent))
                yield Case("Pow", f"{base} {exponent} {value}", (x, y), opset=15, is_exact=True)
    for name, largest in (("int32", 46000), ("int64", 3 * 10**9), ("int64", 10**6)):
        x = np.array([largest, -largest, 7, -7]).astype(name)
        yield Case("Pow", f"{name} {largest} squared", (x, np.array(2, name)), opset=15)
    x = np.array([-2.0, -0.5, 0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32)
    for value in (2.0, 3.0, -2.0, 0.0, 1.0, 0.5, np.inf, np.nan):
        y = np.array(value, np.float32)
        yield Case("Pow", f"edges {value}", (x, y), opset=15)


def _divisions() -> Iterator[Case]:
    for name in INTS:
        a = np.array([7, -7, 7, -7, 1, -1, 0, 2**24 + 1, -(2**24) - 1], name)
        b = np.array([2, 2, -2, -2, 3, 3, -5, 3, 3], name)
        yield Case("Div", f"{name} signs", (a, b), opset=14)
        yield Case("Mod", f"{name} signs", (a, b), opset=13)
        yield Case("Mod", f"{name} signs fmod", (a, b), {"fmod": 1}, 13)
    large = np.array([2**53 + 1, -(2**53) - 1, 2**62, 10**15 + 7], np.int64)
    small = np.array([3, 3, 1000003, -10], np.int64)
    yield Case("Div", "int64 large", (large, small), opset=14)
    yield Case("Mod", "int64 large", (large, small), opset=13)
    yield Case("Mod", "int64 large fmod", (large, small), {"fmod": 1}, 13)
    for name in FLOATS:
        a = np.array([7, -7, 7, -7, 5.5, -5.5, 0, 1e3], np.float32).astype(dtype(name))
        b = np.array([2, 2, -2, -2, 1.5, 1.5, -5, 7], np.float32).astype(dtype(name))
        yield Case("Mod", f"{name} signs fmod", (a, b), {"fmod": 1}, 13)
        x = edges(name)
        yield Case("Div", f"{name} edges", (x[:, None], x[None]), opset=14)


def _clips() -> Iterator[Case]:
    for name in dtypes("Clip", 13):
        x = np.concatenate([draw(name, (8,), "clip"), edges(name)])
        low, high = (np.array(v).astype(x.dtype) for v in ((2, 5) if name == "uint8" else (-1, 2)))
        for label, ends in {
            "both": (x, low, high),
            "least": (x, low),
            "most": (x, None, high),
            "none": (x,),
            "crossed": (x, high, low),
        }.items():
            if label in ("least", "most", "none"):  # a bound left out is the type's last number
                ends = (x[np.isfinite(x)] if name in FLOATS else x, *ends[1:])
            yield Case("Clip", f"{name} {label}", ends, opset=13)
            fixed = tuple(Parameter(v) if i and v is not None else v for i, v in enumerate(ends))
            yield Case("Clip", f"{name} {label} fixed", fixed, opset=13)
    x = np.concatenate([draw("float32", (8,), "clip"), edges("float32")])
    for attributes in ({}, {"min": -1.0}, {"max": 0.5}, {"min": -1.0, "max": 0.5}):
        yield Case("Clip", f"older {attributes}", (x,), attributes, 7)


def _where() -> Iterator[Case]:
    for name in dtypes("Where", 16, 1):
        a, b = draw(name, (3, 4), "where a"), draw(name, (3, 4), "where b")
        condition = draw("bool", (3, 4), "where")
        yield Case("Where", name, (condition, a, b), opset=16)
        yield Case("Where", f"{name} broadcast", (condition[:, :1], a[0], b), opset=16)
        yield Case("Where", f"{name} scalars", (condition, a[0, 0], b[0, 0]), opset=16)
        x = edges(name)
        mask = np.arange(len(x)) % 2 == 0
        yield Case("Where", f"{name} edges", (mask, x, x[::-1].copy()), opset=16)


def _casts() -> Iterator[Case]:

    for source in DTYPES:
        x = edges(source)
        plain = np.concatenate([draw(source, (10,), "cast"), np.array([0, 1]).astype(x.dtype)])
        for target in DTYPES:
            to = int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype(target))))
            label = f"{source} to {target}"
            if source in FLOATS and target == "uint8":
                plain = np.abs(plain)  # what a negative one becomes is open
            yield Case("Cast", label, (plain,), {"to": to}, 19, is_exact=True)
            like = np.zeros(1).astype(dtype(target))
            yield Case("CastLike", label, (plain, Parameter(like)), {}, 19, is_exact=True)
            if (source in FLOATS and target in (*FLOATS, "bool")) or source not in FLOATS:
                yield Case("Cast", f"{label} edges", (x,), {"to": to}, 13, is_exact=True)
