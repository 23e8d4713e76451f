"""Calibration data from iterables and folders, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fasttrt import InputError, TensorSpec
from fasttrt._runtime.samples import read_samples
from support.models import Array
from support.randomness import new_rng

A = TensorSpec("a", np.dtype("float32"), (-1, 3))
B = TensorSpec("b", np.dtype("int64"), (2,))


def a(*shape: int) -> Array:
    return new_rng().standard_normal(shape).astype(np.float32)


def b() -> Array:
    return new_rng().integers(0, 9, 2)


def read(data: Any, *specs: TensorSpec) -> list[list[Array]]:
    return list(read_samples(specs or (A, B), data, "data"))


def same(actual: list[list[Array]], expected: list[list[Array]]) -> None:
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert one.flags.c_contiguous
            np.testing.assert_array_equal(one, other)


def test_tuples_mappings_and_arrays() -> None:
    first, second = [a(1, 3), b()], [a(4, 3), b()]
    same(read([tuple(first), {"b": second[1], "a": second[0]}]), [first, second])
    same(read(iter([first[0], second[0].tolist()][:1]), A), [[first[0]]])
    columns = np.asfortranarray(a(5, 3))
    same(read([columns], A), [[columns]])


def test_they_are_read_one_at_a_time() -> None:
    given = []

    def endless() -> Iterator[Array]:
        while True:
            given.append(a(1, 3))
            yield given[-1]

    samples = read_samples((A,), endless(), "data")
    for count in (1, 2, 3):
        np.testing.assert_array_equal(next(samples)[0], given[count - 1])
        assert len(given) == count


def test_a_folder_of_npz(tmp_path: Path) -> None:
    expected = [[a(n, 3), b()] for n in (1, 2, 3)]
    for name, (one, two) in zip(("c", "a", "b"), expected, strict=True):
        np.savez(tmp_path / f"{name}.npz", b=two, a=one)
    (tmp_path / "README.txt").write_text("not a sample")
    same(read(tmp_path), [expected[1], expected[2], expected[0]])  # by name
    same(read(str(tmp_path)), read(tmp_path))


def test_a_folder_of_npy(tmp_path: Path) -> None:
    expected = [[a(2, 3)], [a(1, 3)]]
    for i, (array,) in enumerate(expected):
        np.save(tmp_path / f"{i}.npy", array)
    same(read(tmp_path, A), expected)
    with pytest.raises(
        InputError, match=r"data: .*0\.npy contains one array, but the model has 2 inputs"
    ):
        read(tmp_path)


def nan(array: Array) -> Array:
    array[0, 1] = np.nan
    return array


def infinite(array: Array) -> Array:
    result: Array = np.copysign(np.float32(np.inf), array)
    return result


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (list, "data: expected at least one sample, got none"),
        (lambda: [(a(1, 3), b()), {"a": a(1, 3)}], r"item 1: expected inputs named \['a', 'b'\], "),
        (
            lambda: [{"a": a(1, 3), "b": b(), "c": b()}],
            r"item 0: expected .* got \['a', 'b', 'c'\]",
        ),
        (lambda: [(a(1, 3), b(), b())], r"item 0: expected 2 arrays \(a, b\), got 3"),
        (lambda: [(a(1, 4), b())], r"item 0: a: expected shape \(-1, 3\) .* got \(1, 4\)"),
        (lambda: [(a(3), b())], r"item 0: a: expected shape \(-1, 3\) .* got \(3,\)"),
        (lambda: [(a(1, 3).astype(float), b())], "item 0: a: expected dtype float32, got float64"),
        (lambda: [(a(1, 3), b()), (nan(a(2, 3)), b())], "item 1: a: expected finite values, got"),
        (lambda: [(infinite(a(1, 3)), b())], "item 0: a: expected finite values, got"),
        (lambda: a(5, 3), "data: expected files, or an iterable .* got ndarray"),
        (lambda: {"a": a(1, 3), "b": b()}, "data: expected files, or an iterable .* got dict"),
        (lambda: 5, "data: expected files, or an iterable .* got int"),
        (lambda: __file__, r"data: expected a \.npy or \.npz file or a folder of them, got .*\.py"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(make())


def test_a_sample_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"item 1: a: expected at least one row, got none: shape"):
        read([a(1, 3), a(0, 3)], A)


def test_small_floats_are_looked_at_too() -> None:
    spec = TensorSpec("h", np.dtype(ml_dtypes.bfloat16), (2,))
    with pytest.raises(InputError, match="h: expected finite values"):
        read([np.array([1, np.inf], ml_dtypes.bfloat16)], spec)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected \.npy or \.npz files in .*, got none"):
        read(tmp_path)
    np.savez(tmp_path / "0.npz", a=a(1, 3), b=b())
    (tmp_path / "1.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:100])
    with pytest.raises(InputError, match=r"data: .*1\.npz cannot be read"):
        read(tmp_path)
    (tmp_path / "1.npz").unlink()
    np.save(tmp_path / "2.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"data: .*2\.npy cannot be read: .*pickle"):
        read(tmp_path)
