"""Run damaged plans, models, arrays, options and command lines, and count what comes of them.

    python tests/fuzz/run.py --cases 40000 --seed 7 --kind plans

Each case is tried in a process that may crash or hang. The exit code is 1 if one did, or ended in
an error outside of fasttrt's, or was taken wrongly. ``--only INDEX`` tries one here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from conformance import pool
from fuzz.attempt import KINDS, Case, Result, attempt


def run(cases: list[Case], jobs: int, timeout: float) -> dict[Case, Result]:
    """The result of each; ``"crashed"`` and ``"hung"`` besides those of `attempt`."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, pool.environment():
        os.environ["FASTTRT_CACHE_DIR"] = folder
        for case, result in pool.run(attempt, cases, jobs, timeout):
            if isinstance(result, TimeoutError):
                result = Result("hung", str(result))
            elif isinstance(result, Exception):
                result = Result("crashed", str(result))
            found[case] = result
    return found


def findings(results: dict[Case, Result]) -> list[str]:
    """A line for each case that went wrong."""
    return [
        f"{result.verdict} --kind {case.kind} --seed {case.seed} --only {case.number}: "
        f"{result.detail}"
        for case, result in sorted(results.items())
        if result.verdict not in ("accepted", "refused")
    ]


def summary(results: dict[Case, Result]) -> list[str]:
    """The count of each verdict, by kind."""
    lines = []
    for kind in dict.fromkeys(case.kind for case in results):
        counts = Counter(r.verdict for case, r in results.items() if case.kind == kind)
        listed = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        lines.append(f"{kind}: tried {counts.total()}: {listed}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of a case")
    parser.add_argument("--only", type=int, help="the index of one case")
    given = parser.parse_args()
    kinds = given.kind or list(KINDS)
    if given.only is not None:
        print(attempt(Case(kinds[0], given.seed, given.only)))
        return 0
    cases = [Case(kinds[i % len(kinds)], given.seed, i) for i in range(given.cases)]
    results = run(cases, given.jobs, given.timeout)
    print("\n".join([*findings(results), *summary(results)]))
    return int(bool(findings(results)))


if __name__ == "__main__":
    sys.exit(main())
