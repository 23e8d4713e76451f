#!/usr/bin/env python
"""Run ONNX's node tests through fasttrt and tell how many parse, build, run and are right.

python tests/conformance/run.py                          # parse and build, without a GPU
python tests/conformance/run.py --device cuda --jobs 8   # run and compare as well
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from conformance import pool, report
from conformance.cases import Case, find_cases, read_cases

HERE = Path(__file__).parent
TIMEOUT = 60
"""Seconds for a case, at most."""


def work(folder: Path, device: str, library: str) -> list[dict[str, Any]]:
    """What a worker does: the outcomes of a case, as JSON has them."""
    from conformance.attempt import attempt

    try:
        return [asdict(outcome) for outcome in attempt(Case(folder), device, library)]
    except Exception:
        return [{"stage": "error", "problem": traceback.format_exc(), "frozen": []}]


def is_spoiled(outcomes: list[dict[str, Any]]) -> bool:
    """Whether the process has no working CUDA any more, perhaps."""
    return any(outcome["problem"].startswith("CudaError") for outcome in outcomes)


def run_cases(
    cases: list[Case], device: str, library: str, jobs: int, timeout: float = TIMEOUT
) -> dict[str, report.Result]:
    """The results by case, also of cases that crash or hang."""
    by_folder = {case.folder: case for case in cases}
    function = functools.partial(work, device=device, library=library)
    results = {}
    with pool.environment():
        for folder, given in pool.run(function, by_folder, jobs, timeout, is_spoiled):
            case = by_folder[folder]
            if isinstance(given, pool.Crashed):
                given = [{"stage": "crashed", "problem": str(given), "frozen": []}]
            elif isinstance(given, TimeoutError):
                given = [{"stage": "hung", "problem": str(given), "frozen": []}]
            results[case.name] = report.Result(case.operator, case.digest, given)
    return dict(sorted(results.items()))


def library_name(library: str) -> str:
    """Which TensorRT the workers use, asked of a process of its own."""
    code = "import sys, fasttrt; print(fasttrt.library(sys.argv[1]))"
    command = [sys.executable, "-c", code, library]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu (parse and build only) or cuda[:N]")
    parser.add_argument("--library", default="auto", help="see fasttrt.library()")
    parser.add_argument(
        "--cases",
        type=Path,
        metavar="PATH",
        help="a folder of node tests, or a wheel of ONNX (default: the installed one's)",
    )
    parser.add_argument("--operators", nargs="+", metavar="OP", help="these operators only")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th case only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds for a case")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all outcomes and reasons here"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="write TABLE.md and expected.json (all cases must be run)",
    )
    return parser.parse_args()


def main() -> int:
    """Print a summary, every wrong answer, and what is not as expected.json has it.

    Returns:
        0 if everything is as expected.
    """
    logging.getLogger("fasttrt").setLevel(logging.ERROR)
    arguments = parse_arguments()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fasttrt-conformance-") as scratch:
        folder, release = find_cases(arguments.cases, Path(scratch))
        cases = read_cases(folder)
        if arguments.operators:
            cases = [case for case in cases if case.operator in arguments.operators]
        cases = cases[:: arguments.every]
        library = library_name(arguments.library)
        print(
            f"{len(cases)} cases of ONNX {release}, {library}, device {arguments.device}",
            flush=True,
        )
        results = run_cases(
            cases, arguments.device, arguments.library, arguments.jobs, arguments.timeout
        )
    ran = arguments.device != "cpu"
    print(report.summary(results, ran))
    for line in report.problems(results):
        print(line)
    if arguments.json:
        outcomes = {name: result.outcomes for name, result in results.items()}
        arguments.json.write_text(json.dumps(outcomes, indent=1))
    changed = []
    if arguments.update:
        report.update(HERE, results, release, library, ran)
    else:
        changed = report.regressions(report.read_expected(HERE), results, library, ran)
        print("\n".join(changed) or "as expected, or better")
    print(f"{time.monotonic() - begin:.0f} s")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
