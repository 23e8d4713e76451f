#!/usr/bin/env python
"""Run the cases of single operators through fasttrt, and tell which are refused, wrong or right.

python tests/operators/run.py                          # build, without a GPU
python tests/operators/run.py --device cuda --jobs 4   # run and compare as well
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from conformance import pool
from operators.case import Case, random
from operators.every import all_cases, find_case

TIMEOUT = 40.0
PACK = 8
WAVE = 120
"""Packs at a time, after which those that went wrong come again."""
FINE = ("right", "NaN lost", "as ONNX Runtime", "built", "refused", "unknown")
CLEAR = ("right", "NaN lost", "unknown", "built", "as ONNX Runtime")


def work(names: tuple[str, ...], device: str, library: str) -> list[dict[str, Any]]:
    """What a worker does: the outcomes of some cases, as JSON has them."""
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("fasttrt").setLevel(logging.ERROR)
    from operators.attempt import attempt

    try:
        return [asdict(o) for o in attempt([find_case(name) for name in names], device, library)]
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:600]
        return [
            {"name": n, "stage": "error", "problem": problem, "packed": len(names)} for n in names
        ]


def is_spoiled(outcomes: list[dict[str, Any]]) -> bool:
    """Whether the process has no working CUDA any more, perhaps."""
    return any("CudaError" in o["problem"] or "cudaError" in o["problem"] for o in outcomes)


def run(
    packs: Iterable[tuple[str, ...]],
    device: str,
    jobs: int,
    timeout: float,
    library: str = "auto",
) -> Iterator[dict[str, Any]]:
    """The outcomes as they come; packs that went wrong in any way are halved and tried again."""
    with pool.environment():
        waiting = list(packs)
        while waiting:
            wave, waiting = waiting[:WAVE], waiting[WAVE:]
            again = yield from _run(wave, device, jobs, timeout, library)
            waiting = again + waiting


def _run(
    packs: Iterable[tuple[str, ...]],
    device: str,
    jobs: int,
    timeout: float,
    library: str,
) -> Generator[dict[str, Any], None, list[tuple[str, ...]]]:
    """Give outcomes, and at the end what to try again."""
    function = functools.partial(work, device=device, library=library)
    again: list[tuple[str, ...]] = []
    for names, given in pool.run(function, packs, jobs, timeout, is_spoiled):
        half = (len(names) + 1) // 2
        if isinstance(given, Exception):
            if len(names) > 1:
                again += [names[:half], names[half:]]
                continue
            stage = "hung" if isinstance(given, TimeoutError) else "crashed"
            yield {"name": names[0], "stage": stage, "problem": str(given), "packed": 1}
            continue
        unclear = []
        for outcome in given:
            if outcome["packed"] == 1 or outcome["stage"] in CLEAR:
                yield outcome
            elif outcome["stage"] == "wrong":
                again.append((outcome["name"],))
                yield outcome | {"stage": "wrong in a pack"}
            else:
                unclear.append(outcome["name"])
        if unclear:
            again += [tuple(part) for part in (unclear[:half], unclear[half:]) if part]
    return again


def packs_of(cases: Iterable[Case], size: int) -> list[tuple[str, ...]]:
    """Cases of one operator, opset and placement together, in random order of packs."""

    def key(case: Case) -> tuple[str, int, str]:
        return case.operator, case.opset, case.placement

    found = []
    for _, group in itertools.groupby(sorted(cases, key=key), key):
        names = sorted(case.name for case in group)
        found += [tuple(names[i : i + size]) for i in range(0, len(names), size)]
    order = random("packs").permutation(len(found))
    return [found[i] for i in order]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--operators", nargs="+")
    parser.add_argument("--names", type=Path, help="a file of names of cases, one a line")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--pack", type=int, default=PACK)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--timeout", type=float, default=TIMEOUT)
    parser.add_argument("--json", type=Path, help="write outcomes here, one a line")
    arguments = parser.parse_args()
    begin = time.monotonic()
    if arguments.names:
        cases = [find_case(name) for name in arguments.names.read_text().splitlines()]
    else:
        cases = list(all_cases(arguments.seed).values())
    if arguments.operators:
        cases = [case for case in cases if case.operator in arguments.operators]
    cases = cases[:: arguments.every]
    packs = packs_of(cases, arguments.pack)
    print(f"{len(cases)} cases in {len(packs)} packs", flush=True)
    counts: Counter[str] = Counter()
    out = arguments.json.open("w") if arguments.json else None
    for outcome in run(packs, arguments.device, arguments.jobs, arguments.timeout):
        counts[outcome["stage"]] += 1
        if out is not None:
            print(json.dumps(outcome), file=out, flush=True)
        elif outcome["stage"] not in ("right", "built", "refused"):
            print(json.dumps(outcome))
        if time.monotonic() - begin > arguments.seconds:
            print("out of time")
            break
    print(dict(counts), f"{time.monotonic() - begin:.0f} s")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
