"""A run's parts by GPU events, and the host's time to queue it: the terms are trtexec's."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from measure import summarize
from report import Report
from subject import Subject
from vendor import Bindings

TERMS = ("H2D Latency", "GPU Compute Time", "D2H Latency", "Latency", "Enqueue Time")


def phases(
    report: Report, subject: Subject, bindings: Bindings | None, rounds: int, count: int
) -> None:
    """Time the parts of both, one run after the other, in a stream with pinned buffers.

    Args:
        report: for the numbers.
        subject: what runs.
        bindings: the vendor's, if there are any.
        rounds: how often.
        count: of the runs in a round.
    """
    import torch

    hosts = [tuple(torch.from_numpy(x).pin_memory() for x in xs) for xs in subject.xs]
    xs = tuple(x.cuda() for x in hosts[0])
    ys = tuple(torch.from_numpy(y).cuda() for y in subject.targets()[0])
    targets = [torch.empty(y.shape, dtype=y.dtype, pin_memory=True) for y in ys]
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    infer = partial(subject.engine.infer, *xs, out=ys[0] if len(ys) == 1 else ys)
    ways: dict[str, tuple[Callable[[], Any], Any, Any, Any]] = {
        "fasttrt, infer(cuda, out=cuda)": (infer, xs, ys, stream)
    }
    if bindings is not None:
        own = (bindings.execute, bindings.xs, bindings.ys, bindings.stream)
        ways["bindings, execute_async_v3"] = own
    start, copied, computed, end, first = (torch.cuda.Event(enable_timing=True) for _ in range(5))
    clock = time.perf_counter_ns

    def go(way: str, count: int) -> tuple[list[list[float]], float]:
        enqueue, inputs, results, stream = ways[way]
        times: list[list[float]] = [[] for _ in TERMS]
        with torch.cuda.stream(stream):
            first.record()
            for i in range(count):
                start.record()
                for x, host in zip(inputs, hosts[i % len(hosts)], strict=True):
                    x.copy_(host, non_blocking=True)
                copied.record()
                begin = clock()
                enqueue()
                took = clock() - begin
                computed.record()
                for target, y in zip(targets, results, strict=True):
                    target.copy_(y, non_blocking=True)
                end.record()
                stream.synchronize()
                marks = [start, copied, computed, end]
                parts = [1000 * a.elapsed_time(b) for a, b in pairwise(marks)]
                for kept, value in zip(times, [*parts, sum(parts), took / 1000], strict=True):
                    kept.append(value)
        return times, first.elapsed_time(end) / 1000

    found: dict[str, list[list[float]]] = {way: [[] for _ in TERMS] for way in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for way in ways:
            go(way, 10)
            times, took = go(way, count)
            seconds[way] += took
            for kept, new in zip(found[way], times, strict=True):
                kept.extend(new)
    for way in ways:
        go(way, count)
        answer = [target.numpy().copy() for target in targets]
        subject.network.check(way, answer, subject.right[(count - 1) % len(hosts)])
        _show(report, subject, way, found[way], rounds * count / seconds[way])


def _show(
    report: Report, subject: Subject, way: str, times: list[list[float]], rate: float
) -> None:
    graph = subject.graph if way.startswith("fasttrt") else "no"
    print(
        f"{way}: transfers yes (pinned), CUDA graph {graph}, spin wait no (CUDA's own); "
        f"Throughput {rate:.1f} qps"
    )
    common: dict[str, Any] = {
        "network": subject.network.name, "batch": subject.batch, "case": way,
        "transfers": "pinned", "graph": graph, "wait": "CUDA's",
    }  # fmt: skip
    report.row(term="Throughput", qps=rate, **common)
    for term, values in zip(TERMS, times, strict=True):
        s = summarize(values)
        print(
            f"  {term:17} min = {s.min:.1f} us, max = {s.max:.1f} us, mean = {s.mean:.1f} us, "
            f"median = {s.median:.1f} us, percentile(90%) = {s.p90:.1f} us, "
            f"percentile(95%) = {s.p95:.1f} us, percentile(99%) = {s.p99:.1f} us"
        )
        report.row(term=term, us=s._asdict(), **common)
