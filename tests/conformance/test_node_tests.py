"""ONNX's node tests come as far as expected.json says, with the TensorRT-RTX that it is of.

A sample, unless FASTTRT_CONFORMANCE=all. FASTTRT_CONFORMANCE_CASES names a wheel of ONNX or a
folder of node tests to take instead of the installed ones; models that ONNX has changed since are
only run. tests/gpu does the same on a GPU.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import fasttrt
from conformance import report, run
from conformance.cases import Case, find_cases, read_cases

SAMPLE = 20
"""Each case of so many."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    source = os.environ.get("FASTTRT_CONFORMANCE_CASES")
    scratch = tmp_path_factory.mktemp("cases")
    folder, _ = find_cases(Path(source) if source else None, scratch)
    every = 1 if os.environ.get("FASTTRT_CONFORMANCE") == "all" else SAMPLE
    return read_cases(folder)[::every]


@pytest.mark.timeout(1800)
def test_no_case_comes_less_far_than_before(cases: list[Case], rtx: fasttrt.LibraryInfo) -> None:
    assert len(cases) > 80
    results = run.run_cases(cases, "cpu", str(rtx.path), jobs=2)
    assert results.keys() == {case.name for case in cases}
    expected = report.read_expected(run.HERE)
    assert report.regressions(expected, results, str(rtx), ran=False) == []
    same = [
        case.name
        for case in cases
        if expected["cases"].get(case.name, {}).get("model") == case.digest
    ]
    assert len(same) > len(cases) / 2  # or there was nothing to compare
    stages = {result.best for result in results.values()}
    assert {"refused", "built"} <= stages  # it can tell one from the other
    if str(rtx) != expected["library"]:
        pytest.skip(f"expected.json is of {expected['library']}: {rtx} was only run")


def test_the_table_is_that_of_the_expectations() -> None:
    expected = report.read_expected(run.HERE)
    assert (run.HERE / "TABLE.md").read_text() == report.table(expected)
    built = [case for case in expected["cases"].values() if case["frozen"] == "built"]
    assert len(expected["cases"]) == 1765
    assert len(built) >= 1020


def test_operators_are_told_from_the_names(cases: list[Case]) -> None:
    operators = {case.name: case.operator for case in cases}
    assert len(set(operators.values())) > 40
    for name, operator in operators.items():
        assert operator[0].isupper(), (name, operator)
