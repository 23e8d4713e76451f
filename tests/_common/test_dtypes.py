"""Conversions that change no value, against what the conversions do to the extreme values."""

from __future__ import annotations

import itertools
import re
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._common.dtypes import check_cast, convert, is_lossless

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


OTHERS = ("longdouble", "complex64", "S3", "U2", "O", "M8[s]", "m8[s]", "V4", ">f4", "int16")
FOREIGN = [name for name in dir(ml_dtypes) if re.match(r"b?float\d|u?int\d", name)]
ALL = [*NAMES, *OTHERS, *(name for name in FOREIGN if name not in NAMES)]
SMALL = [name for name in ALL if re.match(r"float[468]_|u?int2", name)]


@pytest.mark.parametrize("how", [True, "lossy"])
@pytest.mark.parametrize(
    "target", ["float32", "int64", "bool", "bfloat16", "float8_e4m3fn", "int4"]
)
@pytest.mark.parametrize("source", ALL)
def test_every_pair_of_types_is_cast_or_refused(source: str, target: str, how: Any) -> None:
    try:
        result = convert("x", np.zeros(2, dtype(source)), dtype(target), how)
    except InputError:
        return
    assert result.dtype == dtype(target)


@pytest.mark.parametrize("source", SMALL)
@pytest.mark.parametrize("target", [n for n in ALL if re.match("b?float", n)])
def test_small_floats_keep_every_value_where_they_are_lossless(source: str, target: str) -> None:
    if not is_lossless(dtype(source), dtype(target)):
        return
    values = np.arange(256, dtype=np.uint8).view(dtype(source))
    kept = values.astype(dtype(target)).astype(np.float64)
    np.testing.assert_array_equal(kept, values.astype(np.float64))


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        (0.1, "float32", np.float32(0.1)),
        (float("inf"), "float32", np.inf),
        (float("nan"), "float32", np.nan),
        (2**24 + 1, "float32", 2**24),
        (3.0, "int32", 3),
        (2**31 - 1, "int32", 2**31 - 1),
        (1e300, "float32", None),
        (70000.0, "float16", None),
        (2.5, "int32", None),
        (float("nan"), "int32", None),
        (2**31, "int32", None),
        (-1, "uint64", None),
        (2, "bool", None),
        (float("inf"), "float8_e4m3fn", None),
    ],
)
def test_a_lossy_cast_rounds_and_does_no_more(value: Any, target: str, expected: Any) -> None:
    array = np.array([value])
    if expected is None:
        with pytest.raises(InputError, match=f"x: cannot cast {array.dtype} to {target}: expected"):
            convert("x", array, dtype(target), "lossy")
    else:
        np.testing.assert_array_equal(convert("x", array, dtype(target), "lossy"), [expected])


@pytest.mark.parametrize("value", [None, 1, 0, "yes", "LOSSY", "safe", 2.0, []])
def test_other_values_of_cast_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match='cast: expected True, False or "lossy", got '):
        check_cast(value)
