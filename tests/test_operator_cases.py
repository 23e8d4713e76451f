"""The cases of tests/operators: their references agree, and a sample of them builds.

tests/gpu runs them. ``FASTTRT_OPERATOR_CASES=all`` takes all of them here, too.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

import fasttrt
from operators import run
from operators.case import Case
from operators.check import problems
from operators.every import all_cases, base_cases
from operators.reference import by_onnx, by_onnxruntime

EVERY = 1 if os.environ.get("FASTTRT_OPERATOR_CASES") == "all" else 101
"""Each case of so many."""


@pytest.mark.filterwarnings("ignore")  # edge values
def test_the_references_agree() -> None:
    """onnx.reference in float64 and ONNX Runtime, but for cases known to be of two minds."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    counts: Counter[str] = Counter()
    differences = {}
    for case in list(base_cases())[::EVERY]:
        try:
            results = by_onnx(case), by_onnxruntime(case)
        except Exception:  # one of them lacks an operator, a type or an option
            counts["one"] += 1
            continue
        counts["both"] += 1
        problem = problems(results[1], results[0])
        if problem and not _may_differ(case):
            differences[case.name] = problem
    assert differences == {}
    assert counts["both"] > 5 * counts["one"]


def _may_differ(case: Case) -> bool:
    """Where ONNX Runtime takes NaN, overflow and rounding its own way, or the reference is wrong.

    The reference pads sequences of recurrent networks, and counts windows of ``ceil_mode``,
    otherwise. What a GPU computes is right if it is as either of them says.
    """
    words = ("edges", "nan", "inf", "large", "beyond", "empty", "ceil", "low", "indices")
    odd = ("LSTM", "GRU", "RNN", "Resize", "Shrink", "Clip", "Loop", "LpPool", "GridSample")
    known = (("GlobalMaxPool", ""), ("ConvTranspose", "depthwise"))
    return (
        any(word in case.label for word in words)
        or case.operator in odd
        or any(case.operator == operator and part in case.label for operator, part in known)
    )


@pytest.mark.timeout(3000)
def test_cases_build_with_the_shapes_expected(rtx: fasttrt.LibraryInfo) -> None:
    """In a process of its own, which may neither crash nor hang."""
    cases = list(all_cases().values())[:: EVERY if EVERY == 1 else 3 * EVERY]
    packs = run.packs_of(cases, run.PACK)
    outcomes = list(run.run(packs, "cpu", 2, 60, str(rtx.path)))
    stages = Counter(outcome["stage"] for outcome in outcomes)
    bad = [outcome for outcome in outcomes if outcome["stage"] not in run.FINE]
    assert bad == []
    assert stages["built"] > 2 * (stages["refused"] + stages["unknown"])
    assert len({outcome["name"] for outcome in outcomes}) == len(cases)


def test_every_operator_is_there_in_several_types() -> None:
    operators = Counter(case.operator for case in base_cases())
    assert len(operators) > 120
    assert sum(operators.values()) > 8000


def test_a_case_is_the_same_each_time() -> None:
    first, second = (list(all_cases(seed=3).values())[::500] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name
        assert a.arrays.keys() == b.arrays.keys()
        assert all(a.arrays[n].tobytes() == b.arrays[n].tobytes() for n in a.arrays)
