"""Errors of arrays, against numpy over all values at once."""

import numpy as np
import pytest

from fasttrt._common.array_errors import ErrorSums, equal_maxima
from support.randomness import new_rng


def test_sums_of_several_arrays_are_those_of_all_values() -> None:
    rng = new_rng()
    pairs = [(rng.normal(0, 3, size), rng.normal(0, 3, size)) for size in (1, 7, 40)]
    actual, expected = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    found = sum((ErrorSums.of(*pair) for pair in pairs), ErrorSums())
    error = abs(actual - expected)
    assert found.count == 48
    assert found.max_abs == error.max()
    assert found.max_rel == (error / abs(expected)).max()
    assert found.max_expected == abs(expected).max()
    assert found.sum_abs == pytest.approx(error.sum())
    assert found.error_squares == pytest.approx(error @ error)
    assert found.expected_squares == pytest.approx(expected @ expected)
    assert found.actual_squares == pytest.approx(actual @ actual)


def test_relative_errors_are_of_what_is_not_0() -> None:
    found = ErrorSums.of(np.array([3.0, 5.0]), np.array([0.0, 4.0]))
    assert (found.max_abs, found.max_rel) == (3.0, 0.25)
    assert ErrorSums.of(np.zeros(0), np.zeros(0)) == ErrorSums()


def test_rows_with_nan_do_not_count() -> None:
    expected = np.array([[1.0, 2.0], [4.0, 3.0], [np.nan, 0.0]])
    assert equal_maxima(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), expected) == (2, 1)
    assert equal_maxima(expected[:, 0], expected[:, 0]) == (0, 0)
    assert equal_maxima(expected[:, :1], expected[:, :1]) == (0, 0)
