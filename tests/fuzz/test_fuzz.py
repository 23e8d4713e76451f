"""Hundreds of damaged cases: each is taken or refused, and nothing crashes or hangs."""

from __future__ import annotations

from fuzz.attempt import KINDS, Case
from fuzz.run import findings, run

_CASES = 500
_SEED = 20261129


def test_hundreds_of_cases() -> None:
    kinds = list(KINDS)
    cases = [Case(kinds[i % len(kinds)], _SEED, i) for i in range(_CASES)]
    results = run(cases, jobs=2, timeout=60)
    assert findings(results) == []
    assert len(results) == _CASES
