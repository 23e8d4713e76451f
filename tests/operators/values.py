"""Arrays to feed: random ones and edge values of each type, and the types that operators take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import defs

from operators.case import Array, random

FLOATS = ("float32", "float16", "bfloat16")
INTS = ("int32", "int64")
SMALL_INTS = ("uint8", "int8")
DTYPES = (*FLOATS, *INTS, "bool", *SMALL_INTS)
SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (3, 4), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 2))
NEWEST = 24
"""The newest opset of the cases."""
_ONNX_NAMES = {"float32": "float"}
_EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    1e-7,
    3.4e38,
    -3.4e38,
    100.0,
    -100.0,
    0.5,
    1.5,
    2.5,
    -0.5,
    -1.5,
    -2.5,
    88.5,
    90.0,
    -90.0,
    11.5,
    1e10,
    -1e10,
    2.0**31,
    -(2.0**31),
    0.9999999,
    -0.9999999,
    3.14159265,
    65504.0,
    20.0,
    -20.0,
    8388609.0,
    0.49999997,
]
_INT_EDGES = {
    "int32": [0, 1, -1, 2**31 - 1, -(2**31) + 1, 7, -7, 3, -3, 2**24 + 1, -(2**24) - 1, 2**16],
    "int64": [
        0,
        1,
        -1,
        2**31,
        -(2**31) - 1,
        2**53 + 1,
        -(2**53) - 1,
        2**62,
        -(2**62),
        7,
        -7,
        2**24 + 1,
        10**12,
    ],
    "uint8": [0, 1, 127, 128, 254, 255, 3, 7],
    "int8": [0, 1, -1, 127, -127, -128, 3, -3],
    "bool": [0, 1, 1, 0],
}


def dtype(name: str) -> npt.DTypeLike:
    return ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)


def draw(name: str, shape: tuple[int, ...], label: str, scale: float = 2.0) -> Array:
    """Random values of a type, the same for the same label."""
    generator = random(f"{name}{shape}{label}")
    if name in FLOATS or name == "float64":
        return np.asarray(generator.standard_normal(shape) * scale).astype(dtype(name))
    if name == "bool":
        return np.asarray(generator.random(shape) > 0.5)
    low, high = (0, 20) if name == "uint8" else (-9, 10)
    return np.asarray(generator.integers(low, high, shape)).astype(name)


def nonzero(name: str, shape: tuple[int, ...], label: str) -> Array:
    """The same without zeros, to divide by."""
    values = draw(name, shape, label)
    return np.asarray(np.where(values == 0, np.asarray(3).astype(values.dtype), values))


def edges(name: str) -> Array:
    """Values at which operators go wrong, as a vector."""
    if name in FLOATS:
        with np.errstate(over="ignore"):
            return np.array(_EDGES).astype(dtype(name))
    return np.array(_INT_EDGES[name]).astype(name)


@cache
def opsets(operator: str) -> list[int]:
    """One for each version of an operator from opset 7 on, the newest first."""
    versions = {
        schema.since_version
        for schema in defs.get_all_schemas_with_history()
        if schema.name == operator and schema.domain == "" and not schema.deprecated
    }
    return sorted({max(7, v) for v in versions if v <= NEWEST}, reverse=True)


@cache
def dtypes(operator: str, opset: int, index: int = 0) -> list[str]:
    """The types among `DTYPES` of an input of an operator."""
    schema = defs.get_schema(operator, opset, "")
    kind = schema.inputs[min(index, len(schema.inputs) - 1)]
    names = kind.types
    return [d for d in DTYPES if f"tensor({_ONNX_NAMES.get(d, d)})" in names]


def over_versions(operator: str) -> Iterator[tuple[int, str]]:
    """Each opset with each type of the first input: all of them in the newest, two in others."""
    for place, opset in enumerate(opsets(operator)):
        names = dtypes(operator, opset)
        yield from ((opset, name) for name in (names if place == 0 else names[:2]))
