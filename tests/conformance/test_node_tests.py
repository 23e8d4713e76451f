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
from conformance.cases import Case, difference, find_cases, read_cases

SAMPLE = 20
"""Each case of so many."""
# Where ONNX Runtime has its own mind, see tests/conformance/README.md.
ONNX_RUNTIME_DIFFERS = {
    "resize_downsample_scales_cubic_align_corners",
    "resize_downsample_scales_linear_align_corners",
}


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


@pytest.mark.filterwarnings("ignore")  # some cases divide by zero on purpose
def test_the_cpu_gives_the_answers(cases: list[Case]) -> None:
    """With parameters frozen, so that the cases and the comparison are known to be right."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    known = report.read_expected(run.HERE)["cases"]
    built = [
        case
        for case in cases
        if known.get(case.name, {}).get("frozen") == "built"
        and case.name not in ONNX_RUNTIME_DIFFERS
    ]
    right: list[str] = []
    wrong: dict[str, dict[str, str]] = {}
    for case in built:
        arrays = case.inputs()
        small = [n for n, a in arrays.items() if a.ndim <= 1 and a.dtype.kind in "biu"]
        frozen = small if len(small) < len(arrays) else []
        try:
            engine = fasttrt.Engine(
                case.model, device="cpu", freeze={name: arrays[name] for name in frozen}
            )
            results = engine.infer({n: a for n, a in arrays.items() if n not in frozen})
        except fasttrt.Error:  # an operator or a type that ONNX Runtime lacks
            continue
        differences = {
            name: difference(results[name], expected, case.is_random)
            for name, expected in case.outputs().items()
        }
        if any(differences.values()):
            wrong[case.name] = differences
        else:
            right.append(case.name)
    assert wrong == {}
    assert len(right) > 0.9 * len(built) > 30


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
