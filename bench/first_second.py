"""The first second of an engine that has just been opened, beside its later ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from closed_loop import Check, checker
from measure import Stats, open_engine, summarize
from models import Arrays, Network
from plots import draw
from report import Report
from ways import Way

CLIENTS = 32
COLD, CACHED = "cold", "cached"
SECOND, STEADY_AFTER = 1.0, 2.0  # seconds
OPENING = {1: 1.0, 4: 2.0}  # seconds from the cache, at most, by the number of contexts
SLOWER = 3.0  # the first second's 99 % than later, at most


class Window(NamedTuple):
    """Of a load: requests that ended in it."""

    rate: float
    stats: Stats | None
    """Of their latencies; None if there are none."""


def load(
    call: Callable[..., Any], xs: Sequence[Arrays], clients: int, seconds: float, check: Check
) -> list[tuple[float, float]]:
    """When each request began and ended, in seconds from the first.

    Unlike `drive` it begins with nothing: all answers are checked in the end, the first ones too.
    """
    gate = threading.Barrier(clients)
    begin = [0.0]

    def work(index: int) -> tuple[list[tuple[float, float]], Any, Any]:
        x, clock, spans = xs[index % len(xs)], time.perf_counter, []
        if gate.wait(60) == 0:
            begin[0] = clock()
        first = y = None
        end = clock() + seconds
        now = clock()
        while now < end:
            start = now
            y = call(*x)
            now = clock()
            spans.append((start, now))
            first = y if first is None else first
        return spans, first, y

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(work, range(clients)))
    for index, (_, first, last) in enumerate(done):
        for y in (first, last):
            check(y, index % len(xs))
    return [(a - begin[0], b - begin[0]) for spans, _, _ in done for a, b in spans]


def window(spans: Sequence[tuple[float, float]], first: float, last: float) -> Window:
    """What ended between two moments, in seconds."""
    times = [1e6 * (end - start) for start, end in spans if first <= end < last]
    return Window(len(times) / (last - first), summarize(times) if times else None)


def first_second(
    report: Report, network: Network, plan: Any, way: Way, cache: Any, opened: str
) -> None:
    """Open, and load at once from many threads.

    Args:
        report: for the table.
        network: what runs.
        plan: of it.
        way: of serving.
        cache: a folder for kernels, see `fasttrt.Engine`.
        opened: whether that had them, in words.
    """
    device = report.options.device
    on_gpu = device != "cpu"
    clients, steady = (CLIENTS, 2 * STEADY_AFTER) if on_gpu else (2, STEADY_AFTER)
    xs, right = network.inputs(1, min(clients, 16))
    check = checker(network, right, "first second")
    start = time.perf_counter()
    with open_engine(network, plan, device, cache=cache, **way.options) as engine:
        took = time.perf_counter() - start
        spans = load(engine.infer, xs, clients, steady, check)
    early = window(spans, 0, SECOND)
    late = window(spans, STEADY_AFTER if on_gpu else SECOND, steady)
    for name, found in (("first second", early), ("later", late)):
        latency = "no request ended"
        if found.stats is not None:
            s = found.stats
            latency = f"a request took {s.median:.0f} us (median), {s.p99:.0f} (99 %), {s.max:.0f}"
        print(f"{clients} threads, {way}, {opened}, {name}: {found.rate:.0f} requests/s; {latency}")
    slices = np.histogram([end for _, end in spans], np.arange(0, steady + 0.1, 0.1))[0]
    report.row(
        network=network.name, case="first second", way=str(way), opened=opened, seconds=took,
        early=early, late=late, ended_in_tenths=slices.tolist(),
    )  # fmt: skip
    if report.options.plot is not None:
        path = report.options.plot / f"first-second-{network.slug}-{way.contexts}-{opened}.png"
        lines = {"requests/s": [((i + 1) / 10, 10.0 * count) for i, count in enumerate(slices)]}
        labels = (f"{network.name} ({report.gpu}), {way}, {opened}", "seconds since the first")
        report.attempt("plot", draw, path, lines, *labels, "requests/s")
    got = None
    if on_gpu and late.stats is not None:
        got = early.stats.p99 / late.stats.p99 if early.stats is not None else float("inf")
    text = f"{network.name}, {opened}: 99 % of the first second / of later ones"
    report.target(f"first second, {way}", text, got=got, limit=SLOWER, most=True)
    if opened == CACHED and way.contexts in OPENING:
        text = f"{network.name}: seconds to open"
        limit = OPENING[way.contexts]
        report.gpu_target(f"{way}, {opened}", text, got=took, limit=limit, most=True)
