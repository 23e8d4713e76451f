"""Cases of single operators, run in processes of their own; see tests/operators/README.md.

A sample; ``FASTTRT_OPERATOR_CASES=all`` takes all of them (about a quarter of an hour),
``FASTTRT_OPERATOR_SEED`` other placements.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from operators import run
from operators.every import all_cases
from operators.known import is_known
from support.gpu import is_rtx, library

pytestmark = pytest.mark.gpu

EVERY = 1 if os.environ.get("FASTTRT_OPERATOR_CASES") == "all" else 67
SEED = int(os.environ.get("FASTTRT_OPERATOR_SEED", "0"))


@pytest.mark.timeout(1200)
def test_no_operator_gives_a_wrong_answer() -> None:
    if not is_rtx():
        pytest.skip(f"{library()}: builds take too long for thousands of them")
    cases = list(all_cases(SEED).values())[SEED % EVERY :: EVERY]
    packs = run.packs_of(cases, run.PACK)
    outcomes = list(run.run(packs, "cuda", 4, 60, str(library().path)))
    stages = Counter(outcome["stage"] for outcome in outcomes)
    print(dict(stages))
    bad = [outcome for outcome in outcomes if outcome["stage"] not in run.FINE]
    assert [outcome for outcome in bad if not is_known(outcome["name"])] == []
    assert stages["right"] > 2 * (stages["refused"] + stages["unknown"])
