"""Columns of Arrow tables as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.data", reason="Ray Data is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from fasttrt._ray.tables import arrays_of  # noqa: E402


def as_lists(value: Any) -> Any:
    return [as_lists(part) for part in value] if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(
    ("kind", "values", "bad"),
    [
        (pa.int32(), [1, None, 3], [1]),
        (pa.list_(pa.int32()), [[1, None], None, [3], []], [0, 1]),
        (pa.large_list(pa.int32()), [[1], None, [2, 3, None]], [1, 2]),
        (pa.list_(pa.int32(), 2), [[1, 2], None, [3, 4], [5, None]], [1, 3]),
        (pa.list_(pa.list_(pa.int32())), [[[1], [2, None]], [None], [[3], [4, 5]]], [0, 1]),
    ],
    ids=str,
)
def test_nulls_leave_other_integers_as_they_are(kind: Any, values: Any, bad: list[int]) -> None:
    whole = pa.array([*values, values[0]], kind)
    for column in (whole.slice(0, len(values)), pa.chunked_array([whole[:1], whole[1:-1]])):
        found = arrays_of(pa.table({"x": column}))["x"]
        for row, value in enumerate(values):
            assert as_lists(found[row]) == (None if row in bad else value)
            if isinstance(found[row], np.ndarray) and found[row].size:
                assert np.concatenate([found[row]], axis=None)[0].dtype == np.int32
    part = arrays_of(pa.table({"x": whole.slice(1, 2)}))["x"]
    assert [row is None for row in part] == [row in bad for row in (1, 2)]


def test_dictionaries_become_their_values() -> None:
    column = pa.array(["a", None, "b"]).dictionary_encode()
    found = arrays_of(pa.table({"x": column, "y": [1, 2, 3]}))
    assert found["x"].tolist() == ["a", None, "b"]
    np.testing.assert_array_equal(found["y"], [1, 2, 3])
