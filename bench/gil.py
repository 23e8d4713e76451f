"""What inference costs a thread of pure Python beside it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import models
from closed_loop import Scale
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


def hold_gil(report: Report, name: str, call: Callable[..., Any], x: Arrays, scale: Scale) -> float:
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
        for _ in range(scale.rounds):
            wanted.clear()
            time.sleep(0.05)  # the last run ends
            alone.append(count_loops(scale.seconds / 2))
            wanted.set()
            before, start = runs[0], time.perf_counter()
            time.sleep(scale.seconds / 2)
            middle, then = runs[0], time.perf_counter()
            beside.append(count_loops(scale.seconds / 2))
            free.append((middle - before) / (then - start))
            rates.append((runs[0] - middle) / (time.perf_counter() - then))
    finally:
        running[0] = False
        wanted.set()
        thread.join(60)
    if problems:
        raise problems[0]
    kept_speed = statistics.median(beside) / statistics.median(alone)
    print(
        f"{name}, {HOST}: the loop keeps {100 * kept_speed:.1f} % of "
        f"{statistics.median(alone):.3g}/s; "
        f"meanwhile {statistics.median(rates):.0f} runs/s, else {statistics.median(free):.0f}"
    )
    report.row(
        case="GIL", network=name, alone=alone, beside=beside, runs_a_second_beside=rates,
        runs_a_second_alone=free,
    )  # fmt: skip
    return kept_speed


def share_gil(report: Report, steady: Sequence[Steady], scale: Scale) -> None:
    """With short runs and with long ones."""
    device = report.options.device
    mlp = models.mlp()
    kept = []
    x = mlp.draw(1)
    with open_engine(mlp, build(mlp, device), device) as engine:
        for _ in range(10):
            engine.infer(*x)
        kept.append(hold_gil(report, f"{mlp.name}, batch 1", engine.infer, x, scale))
    for other in steady:
        name = f"{other.network.name}, batch {other.batch}"
        x = other.network.draw(other.batch)
        kept.append(hold_gil(report, name, other.engine.infer, x, scale))
    report.target(
        "GIL", "speed that a thread of pure Python keeps, the least of the above",
        got=min(kept), limit=0.9, most=False,
    )  # fmt: skip
