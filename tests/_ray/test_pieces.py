"""Batches in pieces that an engine takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.padding import Padding
from fasttrt._ray.pieces import UNLIMITED, Piece, RowCounts, Rows
from support.randomness import new_rng


def refuse(row: int, problem: str) -> None:
    raise AssertionError(f"{row}: {problem}")


def objects(*values: Any) -> Any:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def pieces(
    column: Any, *ranges: tuple[int, int], told: Any = refuse, dtype: Any = "float32"
) -> list[Piece]:
    counts = RowCounts(ranges or ((1, UNLIMITED),))
    specs = [TensorSpec("x", np.dtype(dtype), (-1, 3))]
    return list(Rows([column], ["x"], specs, counts, Padding(specs, None), told).pieces())


def spec(shape: tuple[int, ...], *profiles: tuple[int, int], **about: Any) -> TensorSpec:
    ranges = tuple(((low, 3), (low, 3), (high, 3)) for low, high in profiles)
    return TensorSpec("x", np.dtype("float32"), shape, profiles=ranges, **about)


def test_rows_of_one_shape_are_not_copied() -> None:
    x = new_rng().standard_normal((10, 3))
    found = pieces(x, (1, 4))
    assert [list(piece.rows) for piece in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for piece in found:
        assert np.shares_memory(piece.arrays[0], x)
        np.testing.assert_array_equal(piece.arrays[0], x[list(piece.rows)])


@pytest.mark.parametrize("ranges", [[(4, 4)], [(4, 8)], [(1, 2), (8, 8), (4, 4)]])
def test_a_rest_repeats_its_last_row(ranges: list[tuple[int, int]]) -> None:
    x = new_rng().standard_normal((11, 3))
    *_, last = pieces(x, *ranges)
    assert list(last.rows) == list(range(8, 11))
    np.testing.assert_array_equal(last.arrays[0], x[[8, 9, 10, 10]])


def test_rows_go_by_shape() -> None:
    rows = [new_rng().standard_normal(size) for size in (3, 5, 3, 4, 5)]
    found = pieces(objects(*rows))
    assert [list(piece.rows) for piece in found] == [[0, 2], [1, 4], [3]]
    for piece in found:
        for place, row in enumerate(piece.rows):
            np.testing.assert_array_equal(piece.arrays[0][place], rows[row])


def test_texts_of_any_length_go_together() -> None:
    (piece,) = pieces(objects("a", "bcd\0"), dtype=object)
    assert piece.arrays[0].dtype == object  # no wider for one that is long
    assert piece.arrays[0].tolist() == ["a", "bcd\0"]


def test_rows_without_an_array_are_left_out() -> None:
    refused: list[Any] = []
    column = objects(np.ones(2), None, np.ones(2))
    found = pieces(column, told=lambda *about: refused.append(about))
    assert [list(piece.rows) for piece in found] == [[0, 2]]
    assert refused == [(1, "x: expected an array of numbers, got NoneType")]


def test_no_rows() -> None:
    assert pieces(np.empty((0, 3))) == []
    assert pieces(np.empty(0, object)) == []


def test_how_many_rows_an_engine_takes() -> None:
    assert RowCounts.of([spec((-1, 3))]).best == UNLIMITED
    assert RowCounts.of([spec((-1, 3)), spec((4, 3))]) == RowCounts(((4, 4),))
    ranged = RowCounts.of([spec((-1, 3), (2, 64))])
    assert (ranged.best, ranged.padded(1), ranged.padded(5)) == (64, 2, 5)
    both = RowCounts.of([spec((-1, 3), (1, 8)), spec((-1, 3), (2, 6)), spec((-1, 3))])
    assert both == RowCounts(((2, 6),))


def test_tuned_sizes_are_preferred() -> None:
    tuned = RowCounts.of([spec((-1, 3), (1, 64), (8, 8), (32, 32))])
    assert tuned.best == 32
    sizes = {1: 1, 3: 3, 4: 8, 7: 8, 8: 8, 9: 9, 20: 32, 32: 32}
    assert {count: tuned.padded(count) for count in sizes} == sizes


def test_inputs_that_have_no_batch_are_refused() -> None:
    with pytest.raises(InputError, match="x: expected an input with a batch dimension, got a scal"):
        RowCounts.of([spec((-1, 3)), spec(())])
    with pytest.raises(InputError, match="a batch dimension, got a shape tensor"):
        RowCounts.of([spec((2,), is_shape=True)])
    with pytest.raises(InputError, match=r"the same batch dimension, got x \(4, 3\), x \(8, 3\)"):
        RowCounts.of([spec((4, 3)), spec((8, 3))])
