"""Columns as arrays of an engine, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.columns import columns_of, gathered, most_rows, pieces
from support.randomness import new_rng


def refuse(row: int, problem: str) -> None:
    raise AssertionError(f"{row}: {problem}")


def objects(*values: Any) -> Any:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def test_rows_of_one_shape_are_not_copied() -> None:
    x = new_rng().standard_normal((10, 3))
    found = list(pieces([x], 1, 4, ["x"], refuse))
    assert [list(piece.rows) for piece in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for piece in found:
        assert np.shares_memory(piece.arrays[0], x)
        np.testing.assert_array_equal(piece.arrays[0], x[list(piece.rows)])


def test_a_fixed_batch_repeats_its_last_row() -> None:
    x = new_rng().standard_normal((5, 3))
    *_, last = pieces([x], 4, 4, ["x"], refuse)
    np.testing.assert_array_equal(last.arrays[0], x[[4, 4, 4, 4]])


def test_rows_go_by_shape() -> None:
    rng = new_rng()
    rows = [rng.standard_normal(size) for size in (3, 5, 3, 4, 5)]
    found = list(pieces([objects(*rows)], 1, None, ["x"], refuse))
    assert [list(piece.rows) for piece in found] == [[0, 2], [1, 4], [3]]
    for piece in found:
        for place, row in enumerate(piece.rows):
            np.testing.assert_array_equal(piece.arrays[0][place], rows[row])


def test_rows_without_an_array_are_left_out() -> None:
    refused = []
    column = objects(np.ones(2), None, np.ones(2))
    found = list(pieces([column], 1, None, ["x"], lambda *about: refused.append(about)))
    assert [list(piece.rows) for piece in found] == [[0, 2]]
    assert refused == [(1, "x: expected an array of numbers, got NoneType")]


def test_no_rows() -> None:
    assert list(pieces([np.empty((0, 3))], 1, 4, ["x"], refuse)) == []


def spec(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


def test_results_take_their_places() -> None:
    y = new_rng().standard_normal((4, 2)).astype(np.float32)
    column = gathered(5, [([4, 0], y[:2]), ([1, 3], y[2:])], spec("y", (-1, 2)))
    np.testing.assert_array_equal(column, [y[1], y[2], [np.nan] * 2, y[3], y[0]])
    whole = gathered(4, [(range(4), y)], spec("y", (-1, 2)))
    assert np.shares_memory(whole, y)
    padded = gathered(3, [(range(3), y)], spec("y", (4, 2)))
    np.testing.assert_array_equal(padded, y[:3])
    integers = gathered(2, [([1], np.array([7]))], spec("n", (-1,), "int64"))
    np.testing.assert_array_equal(integers, [0, 7])
    assert gathered(0, [], spec("y", (-1, 2))).shape == (0, 2)
    ragged = gathered(2, [([0], y[:1]), ([1], y[:1, :1])], spec("y", (-1, -1)))
    assert [row.shape for row in ragged] == [(2,), (1,)]


def test_names_of_columns() -> None:
    specs = [spec("a", (-1,)), spec("b", (-1,))]
    assert columns_of("inputs", specs, {"b": "image"}) == ["a", "image"]
    with pytest.raises(InputError, match=r"inputs: there is no tensor 'c'; there are \['a', 'b'\]"):
        columns_of("inputs", specs, {"c": "image"})
    with pytest.raises(InputError, match="outputs: expected a column for each tensor"):
        columns_of("outputs", specs, {"b": "a"})


def test_how_many_rows_an_engine_takes() -> None:
    free, fixed = spec("a", (-1, 3)), spec("b", (4, 3))
    assert most_rows([free]) == (1, None)
    assert most_rows([free, fixed]) == (4, 4)
    profiles = (((1, 3), (2, 3), (8, 3)), ((16, 3), (16, 3), (16, 3)))
    assert most_rows([replace(free, profiles=profiles)]) == (1, 16)
    with pytest.raises(InputError, match="s: expected an input with a batch dimension, got a sca"):
        most_rows([free, spec("s", ())])
