"""A sample of ONNX's node tests, run in processes of their own; see tests/conformance/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import report, run
from conformance.cases import find_cases, read_cases
from support.gpu import is_v8, library

pytestmark = pytest.mark.gpu


@pytest.mark.timeout(900)
def test_no_case_comes_less_far_than_before(tmp_path: Path) -> None:
    folder, _ = find_cases(None, tmp_path)
    # Each build takes TensorRT 8 a quarter of a minute, and a case may need several.
    step, timeout = (60, 4 * run.TIMEOUT) if is_v8() else (20, run.TIMEOUT)
    cases = read_cases(folder)[::step]
    results = run.run_cases(cases, "cuda", str(library().path), jobs=4, timeout=timeout)
    assert results.keys() == {case.name for case in cases}
    for line in report.problems(results):
        print(line)
    regressions = report.regressions(report.read_expected(run.HERE), results, str(library()), True)
    assert regressions == []
    ran = [result for result in results.values() if result.best in ("ran", "right")]
    right = [result for result in ran if result.best == "right"]
    assert len(right) > 0.9 * len(ran) > 0
