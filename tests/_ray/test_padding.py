"""Rows that are padded to few sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.padding import Padding
from support.randomness import new_rng


def spec(
    *profiles: tuple[int, int], shape: tuple[int, ...] = (-1, -1), dtype: str = "int64"
) -> TensorSpec:
    """An input whose profiles have these ranges of its second dimension."""
    ranges = tuple(
        (tuple([1, low, 3][: len(shape)]), (1, low), tuple([9, high, 3][: len(shape)]))
        for low, high in profiles
    )
    return TensorSpec("ids", np.dtype(dtype), shape, profiles=ranges)


@pytest.mark.parametrize(
    ("profiles", "sizes"),
    [
        ([], {0: 1, 1: 1, 3: 4, 4: 4, 5: 8, 100: 128}),
        ([(1, 100)], {3: 4, 65: 100, 100: 100, 101: 101}),
        ([(6, 100)], {3: 6, 7: 8}),
        ([(1, 100), (16, 16), (64, 64)], {3: 16, 16: 16, 17: 64, 65: 100, 101: 101}),
    ],
)
def test_sizes(profiles: list[tuple[int, int]], sizes: dict[int, int]) -> None:
    padding = Padding([spec(*profiles)], {"ids": 7})
    for size, padded in sizes.items():
        row = new_rng().integers(0, 1000, size)
        found = padding.padded(0, row)
        np.testing.assert_array_equal(found, [*row, *[7] * (padded - size)])
        assert found.dtype == row.dtype


def test_columns_and_dimensions() -> None:
    images = Padding([spec(shape=(-1, -1, 3), dtype="float32")], {"ids": 0.5})
    column = new_rng().standard_normal((5, 6, 3)).astype(np.float32)
    padded = images.padded(0, column, 0)
    assert (padded.shape, padded.dtype) == ((5, 8, 3), np.float32)
    np.testing.assert_array_equal(padded[:, :6], column)
    assert (padded[:, 6:] == 0.5).all()
    assert images.padded(0, column[:, 0], 0) is not column
    np.testing.assert_array_equal(images.padded(0, column[0, 0]), column[0, 0])  # refused later
    none = Padding([spec()], None)
    assert none.padded(0, column, 0) is column


def test_narrow_types_are_widened_for_the_value() -> None:
    row = np.array([1, 2, 3], np.uint8)
    found = Padding([spec()], {"ids": -100}).padded(0, row)
    assert found.tolist() == [1, 2, 3, -100]


@pytest.mark.parametrize("column", ["uint8", "float16", "float32", "float64"])
def test_numbers_keep_their_digits_in_narrow_columns(column: str) -> None:
    given = float(new_rng().uniform(1, 2))
    found = Padding([spec(dtype="float32")], {"ids": given}).padded(0, np.ones(3, column))
    assert found[-1] == np.float32(given)
    assert found[:3].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["ids"], r'padding: expected values by input as in \{"ids": 0\}, got'),
        ({"mask": 0}, r"padding: there is no input 'mask'; there are \['ids'\]"),
        ({"ids": 0.5}, "padding: expected a number of int64 for 'ids', got 0.5"),
        ({"ids": "a"}, "padding: expected a number of int64 for 'ids', got 'a'"),
        ({"ids": None}, "padding: expected a number of int64 for 'ids', got None"),
        ({"ids": [0, 1]}, r"padding: expected a number of int64 for 'ids', got \[0, 1\]"),
    ],
)
def test_bad_values(values: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Padding([spec()], values)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float8_e4m3fn"])
def test_numbers_are_rounded_to_the_type(dtype: str) -> None:
    given = float(new_rng().uniform(1, 2))
    padding = Padding([spec(dtype=dtype)], {"ids": given})
    found = padding.padded(0, np.zeros(3, np.float64))[-1]
    assert found == np.float64(given).astype(spec(dtype=dtype).dtype)
    nan = Padding([spec(dtype=dtype)], {"ids": float("nan")})
    assert np.isnan(nan.padded(0, np.zeros(3, np.float64))[-1])
    for large in (1e39, "0.1"):
        with pytest.raises(InputError, match=f"padding: expected a number of {dtype} for 'ids'"):
            Padding([spec(dtype=dtype)], {"ids": large})
