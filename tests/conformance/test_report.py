"""Counting, comparing, and what is kept of a run on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance import report
from conformance.cases import Array, difference
from conformance.report import Result


def array(values: Any, dtype: str) -> Array:
    return np.asarray(values, dtype)


def result(shipped: str, frozen: str | None = None, problem: str = "", digest: str = "d") -> Result:
    stages = [shipped, *([frozen] if frozen else [])]
    return Result("Op", digest, [{"stage": s, "problem": problem, "frozen": []} for s in stages])


def test_counts_are_of_what_was_reached() -> None:
    results = {"a": result("refused", "built"), "b": result("parsed"), "c": result("crashed")}
    assert report.summary(results, ran=False).splitlines() == [
        "as shipped: parsed 1, built 0",
        "frozen where that helps: parsed 2, built 1",
    ]
    assert report.problems(results) == []
    wrong = {"a": result("ran", problem="y: 3 of 4"), "b": result("hung", problem="no answer")}
    assert report.problems(wrong) == ["a: ran: y: 3 of 4", "b: hung: no answer"]


def test_a_run_without_a_gpu_keeps_what_one_told(tmp_path: Path) -> None:
    ran = {"a": result("right"), "b": result("ran"), "c": result("refused", "built"),
           "d": result("refused")}  # fmt: skip
    report.update(tmp_path, ran, "1.0", "rtx 1", ran=True)
    table = (tmp_path / "TABLE.md").read_text()
    assert "| **all** | 4 | 2 | 2 | 3 | 3 | 2 | 1 |" in table
    built = {"a": result("built"), "b": result("parsed"), "c": result("built")}
    report.update(tmp_path, built, "1.0", "rtx 1", ran=False)
    kept = {name: case.get("run") for name, case in report.read_expected(tmp_path)["cases"].items()}
    assert kept == {"a": "right", "b": None, "c": "failed"}
    report.update(tmp_path, built, "1.0", "rtx 2", ran=False)
    assert not any("run" in case for case in report.read_expected(tmp_path)["cases"].values())


def test_regressions_are_told_of_the_same_library_and_model(tmp_path: Path) -> None:
    good = {"a": result("right"), "b": result("refused", "right"), "c": result("parsed")}
    report.update(tmp_path, good, "1.0", "rtx 1", ran=True)
    expected = report.read_expected(tmp_path)
    assert report.regressions(expected, good, "rtx 1", ran=True) == []
    better = {"b": result("built"), "c": result("built")}
    assert report.regressions(expected, better, "rtx 1", ran=False) == []
    for worse, ran in (
        ({"a": result("parsed")}, False),
        ({"b": result("refused", "parsed")}, False),
        ({"a": result("ran")}, True),
        ({"a": result("crashed")}, False),
    ):
        assert report.regressions(expected, worse, "rtx 1", ran)
    other = {"a": result("refused", digest="another")}
    assert report.regressions(expected, other, "rtx 1", ran=False) == []
    assert report.regressions(expected, {"a": result("refused")}, "rtx 2", ran=False) == []
    assert report.regressions(expected, {"a": result("error")}, "rtx 2", ran=False)


@pytest.mark.parametrize(
    ("actual", "expected", "is_right"),
    [
        (array([1, 2], "float32"), array([1, 2.001], "float32"), True),
        (array([1, 2], "float32"), array([1, 2.01], "float32"), False),
        (array([np.nan, np.inf], "float32"), array([np.nan, np.inf], "float32"), True),
        (array([np.nan, 1], "float32"), array([0, 1], "float32"), False),
        (array([np.inf], "float32"), array([-np.inf], "float32"), False),
        (array([1], "float64"), array([1], "float32"), False),
        (array([100, 8e-5], "float32"), array([100, 0], "float32"), True),
        (array([100, 2e-4], "float32"), array([100, 0], "float32"), False),
        (array([1, 8e-7], "float64"), array([1, 0], "float64"), True),
        (array([1, 2e-6], "float64"), array([1, 0], "float64"), False),
        (array([1, 9e-4], "float16"), array([1, 0], "float16"), True),
        (array([1, 2e-3], "float16"), array([1, 0], "float16"), False),
        (array([[1]], "float32"), array([1], "float32"), False),
        (array([], "float32"), array([], "float32"), True),
        (array([1, 2], "int32"), array([1, 3], "int32"), False),
        (array([True], "bool"), array([True], "bool"), True),
        (array([True], "bool"), array([False], "bool"), False),
        (np.asarray([1.0], ml_dtypes.bfloat16), np.asarray([1.0078], ml_dtypes.bfloat16), True),
        (np.asarray([1.0], ml_dtypes.bfloat16), np.asarray([1.03], ml_dtypes.bfloat16), False),
        (np.asarray([7], ml_dtypes.int4), np.asarray([6], ml_dtypes.int4), False),
    ],
)
def test_what_is_right(actual: Array, expected: Array, is_right: bool) -> None:
    assert (difference(actual, expected) == "") is is_right


def test_a_difference_is_told_in_numbers() -> None:
    told = difference(array([1, 5, 2], "float32"), array([1, 4, 3.5], "float32"))
    assert told == "2 of 3 values are wrong, at worst 2 for 3.5"
    assert difference(np.zeros(2), np.zeros(3)) == "expected float64[3], got float64[2]"
    assert difference(np.zeros(2), np.ones(2), is_random=True) == ""
