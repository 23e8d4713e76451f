"""Conversions that change no value, against what the conversions do to the extreme values."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fasttrt._casting import is_lossless

NAMES = (
    "bool", "int4", "uint4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
    "uint64", "float4_e2m1fn", "float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32",
    "float64",
)  # fmt: skip


def dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def telling_values(name: str) -> list[Any]:
    """Values that another type may well not have."""
    if name == "bool":
        return [False, True]
    types: Any = ml_dtypes
    if "int" in name:
        limits = types.iinfo(dtype(name))
        most = int(limits.max)
        return [int(limits.min), most, most - 1, most // 2 + 1, 1, 0]
    limits = types.finfo(dtype(name))
    numbers = (limits.max, limits.min, limits.tiny, limits.smallest_subnormal, 1 + limits.eps)
    return [float(number) for number in numbers]


LOSSLESS = [
    pair for pair in itertools.permutations(NAMES, 2) if is_lossless(*(dtype(n) for n in pair))
]


@pytest.mark.parametrize(("source", "target"), LOSSLESS)
def test_what_is_called_lossless_keeps_every_value(source: str, target: str) -> None:
    for value in telling_values(source):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about the conversions that lose
            converted = np.array([value]).astype(dtype(source)).astype(dtype(target))
        # Python compares integers and floats exactly, where numpy rounds first.
        number = int if target == "bool" or "int" in target else float
        assert number(converted[0]) == value


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("bool", "float32"),
        ("uint8", "int16"),
        ("int32", "int64"),
        ("int32", "float64"),
        ("uint8", "bfloat16"),
        ("int4", "int8"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float32"),
        ("float16", "float32"),
        ("float32", "float64"),
        (">f4", "<f4"),
    ],
)
def test_what_loses_nothing_is_lossless(source: str, target: str) -> None:
    assert is_lossless(dtype(source), dtype(target))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float64", "float32"),
        ("int64", "int32"),
        ("int64", "float64"),  # which numpy calls safe
        ("uint64", "float64"),
        ("int32", "float32"),
        ("int8", "uint8"),
        ("uint64", "int64"),
        ("float32", "int64"),
        ("float8_e4m3fn", "int4"),
        ("float16", "bfloat16"),
        ("bfloat16", "float16"),
        ("complex64", "float32"),
        ("object", "float32"),
        ("<U3", "float32"),
    ],
)
def test_what_may_lose_something_is_not(source: str, target: str) -> None:
    assert not is_lossless(dtype(source), dtype(target))
