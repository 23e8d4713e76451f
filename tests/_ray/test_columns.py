"""Columns of tensors, their rows, and results as columns."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fasttrt import InputError
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.columns import columns_of, gathered, row_array, row_name
from support.randomness import new_rng


def objects(*values: Any) -> Any:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def spec(name: str, shape: tuple[int, ...], dtype: Any = "float32") -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


def test_nested_lists_are_stacked() -> None:
    x = new_rng().standard_normal((2, 3, 4)).astype(np.float32)
    nested = objects(*(objects(*part) for part in x))
    array = row_array(nested)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, x)
    assert row_array("text").dtype.kind == "U"
    for value, problem in [
        (None, "expected an array of numbers, got NoneType"),
        ({"a": 1}, "expected an array of numbers, got dict"),
        (objects(1.0, None), "expected an array of numbers, got NoneType"),
        (objects(x[0, 0], x[0, 0, :2]), "expected lists of one length, got several lengths"),
    ]:
        with pytest.raises(ValueError, match=problem):
            row_array(value)


def test_text_becomes_objects() -> None:
    for value in ("a\0", ["a", "bc\0"], objects("a", "bc\0"), objects(["a"], objects("b")), []):
        array = row_array(value, is_text=True)
        assert array.dtype == object
        assert array.tolist() == np.array(value, object).tolist()
    nested = objects(objects("a", "b"), objects("c", "d"))
    assert row_array(nested, is_text=True).tolist() == [["a", "b"], ["c", "d"]]
    for wrong, problem in [
        (None, "expected text, got NoneType"),
        (b"a", "expected text, got bytes"),
        (["a", 1], "expected text, got int"),
        (objects("a", None), "expected text, got NoneType"),
        ([["a"], ["b", "c"]], "expected lists of one length, got several lengths"),
    ]:
        with pytest.raises(ValueError, match=problem):
            row_array(wrong, is_text=True)


def test_results_take_their_places() -> None:
    y = new_rng().standard_normal((4, 2)).astype(np.float32)
    column = gathered(5, [([4, 0], y[:2]), ([1, 3], y[2:])], spec("y", (-1, 2)))
    np.testing.assert_array_equal(column, [y[1], y[2], [np.nan] * 2, y[3], y[0]])
    whole = gathered(4, [(range(4), y)], spec("y", (-1, 2)))
    assert np.shares_memory(whole, y)
    padded = gathered(3, [(range(3), y)], spec("y", (4, 2)))
    np.testing.assert_array_equal(padded, y[:3])
    parts = [(range(2, 5), y[:4]), (range(2), y[2:])]
    np.testing.assert_array_equal(gathered(5, parts, spec("y", (-1, 2))), y[[2, 3, 0, 1, 2]])
    integers = gathered(2, [([1], np.array([7]))], spec("n", (-1,), "int64"))
    np.testing.assert_array_equal(integers, [0, 7])
    assert gathered(0, [], spec("y", (-1, 2))).shape == (0, 2)
    text = gathered(3, [([1], objects("a"))], spec("t", (-1,), object))
    assert text.tolist() == ["", "a", ""]


def test_ragged_results_are_objects_and_missing_ones_empty() -> None:
    y = new_rng().standard_normal((2, 3, 2)).astype(np.float32)
    ragged = gathered(3, [([0], y[:1]), ([2], y[:1, :1])], spec("y", (-1, -1, 2)))
    assert [row.shape for row in ragged] == [(3, 2), (0, 0), (1, 2)]
    assert {row.dtype for row in ragged} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("dtype", "wider"),
    [("bfloat16", "float32"), ("float8_e4m3fn", "float32"), ("int4", "int8"), ("uint4", "uint8"),
     ("float16", "float16"), ("bool", "bool"), ("uint64", "uint64")],
)  # fmt: skip
def test_types_that_arrow_lacks_become_wider(dtype: str, wider: str) -> None:
    narrow = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    y = new_rng().integers(0, 2, (4, 3)).astype(narrow)
    for found in ([(range(4), y)], [(range(2), y[:2]), (range(2, 4), y[2:])]):
        column = gathered(4, found, spec("y", (-1, 3), narrow))
        assert column.dtype == wider
        np.testing.assert_array_equal(column, y.astype(wider))
    assert gathered(2, [(range(1), y[:1])], spec("y", (-1, 3), narrow)).shape == (2, 3)
    assert gathered(0, [], spec("y", (-1, 3), narrow)).dtype == wider


def test_names_of_columns() -> None:
    specs = [spec("a", (-1,)), spec("b", (-1,))]
    assert columns_of("inputs", specs, {"b": "image"}) == ["a", "image"]
    with pytest.raises(InputError, match=r"inputs: there is no tensor 'c'; there are \['a', 'b'\]"):
        columns_of("inputs", specs, {"c": "image"})
    with pytest.raises(InputError, match="outputs: expected a column for each tensor"):
        columns_of("outputs", specs, {"b": "a"})
    wrong: Any = ["image"]
    with pytest.raises(InputError, match=r'inputs: expected columns by tensor as in \{"a": "col'):
        columns_of("inputs", specs, wrong)
    with pytest.raises(InputError, match="inputs: expected names of columns, got 3"):
        columns_of("inputs", specs, {"a": 3})  # type: ignore[dict-item]


def test_a_row_is_named_by_what_it_has() -> None:
    kept = {"id": np.array([5, 6]), "image": np.ones((2, 3)), "path": objects("a.png", "b.png")}
    assert row_name(kept, 1) == "row 1 of the batch (id=6, path='b.png')"
    assert row_name({}, 0) == "row 0 of the batch"
