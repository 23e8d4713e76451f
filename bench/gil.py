"""What inference costs a thread of pure Python beside it.

A shared machine may run pure Python at half its speed for a while, whoever infers. So many short
slices alone and beside take turns, and the best quarter of each is compared: slices in which the
machine itself was slow drop out of both.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import models
from measure import build, open_engine
from models import Arrays
from report import Report
from ways import HOST, Steady


def count_loops(seconds: float) -> float:
    """How often a loop of pure Python comes round in a second."""
    clock = time.perf_counter
    loops, start = 0, clock()
    end = start + seconds
    while clock() < end:
        for _ in range(100):
            loops += 1
    return loops / (clock() - start)


SLICES = 24  # of either kind
SLICE = 0.08  # seconds


def best(rates: Sequence[float]) -> float:
    """The third quartile."""
    return statistics.quantiles(rates, n=4)[2]


def hold_gil(report: Report, name: str, call: Callable[..., Any], x: Arrays, slices: int) -> float:
    """The speed that a thread of pure Python keeps while another one infers."""
    wanted, running, runs, problems = threading.Event(), [True], [0], []

    def work() -> None:
        try:
            while True:
                wanted.wait()
                if not running[0]:
                    return
                call(*x)
                runs[0] += 1
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    alone, beside, rates, free = [], [], [], []
    try:
        for _ in range(slices):
            wanted.clear()
            time.sleep(0.02)  # the last run ends
            alone.append(count_loops(SLICE))
            wanted.set()
            before, start = runs[0], time.perf_counter()
            time.sleep(SLICE / 4)
            middle, then = runs[0], time.perf_counter()
            beside.append(count_loops(SLICE))
            free.append((middle - before) / (then - start))
            rates.append((runs[0] - middle) / (time.perf_counter() - then))
    finally:
        running[0] = False
        wanted.set()
        thread.join(60)
    if problems:
        raise problems[0]
    kept_speed = best(beside) / best(alone)
    print(
        f"{name}, {HOST}: the loop keeps {100 * kept_speed:.1f} % of {best(alone):.3g}/s "
        f"(third quartiles of {slices} slices; medians {statistics.median(beside):.3g} and "
        f"{statistics.median(alone):.3g}); "
        f"meanwhile {statistics.median(rates):.0f} runs/s, else {statistics.median(free):.0f}"
    )
    report.row(
        case="GIL", network=name, alone=alone, beside=beside, runs_a_second_beside=rates,
        runs_a_second_alone=free,
    )  # fmt: skip
    return kept_speed


def share_gil(report: Report, steady: Sequence[Steady]) -> None:
    """With short runs and with long ones."""
    device = report.options.device
    slices = SLICES if device != "cpu" else 4
    mlp = models.mlp()
    kept = []
    x = mlp.draw(1)
    with open_engine(mlp, build(mlp, device), device) as engine:
        for _ in range(10):
            engine.infer(*x)
        kept.append(hold_gil(report, f"{mlp.name}, batch 1", engine.infer, x, slices))
    for other in steady:
        name = f"{other.network.name}, batch {other.batch}"
        x = other.network.draw(other.batch)
        kept.append(hold_gil(report, name, other.engine.infer, x, slices))
    report.target(
        "GIL", "speed that a thread of pure Python keeps, the least of the above",
        got=min(kept), limit=0.9, most=False,
    )  # fmt: skip
