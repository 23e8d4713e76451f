"""Closed-loop load: clients that each send one request after another, or keep so many in flight."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

from models import Arrays, Network

from fasttrt._bench.closed_loop import Rates as Rates
from fasttrt._bench.closed_loop import Scale as Scale
from fasttrt._bench.closed_loop import drive as drive

Check = Callable[[Any, int], Any]
"""Raises if the answer to the input of that index is wrong."""


def checker(network: Network, right: Sequence[Arrays], who: str) -> Check:
    """Compare with the right answers."""
    return lambda y, index: network.check(who, y, right[index])


def anew(
    load: Callable[..., Rates], call: Callable[..., Any], xs: Sequence[Arrays], clients: int,
    scale: Scale, warm: float, check: Check,
) -> Rates:  # fmt: skip
    """Load with new threads or a new event loop in each round.

    Some cores of a shared host are a third as fast for a while, and a thread may stay on one.
    """
    once = scale._replace(rounds=1)
    found = [load(call, xs, clients, once, warm, check) for _ in range(scale.rounds)]
    return Rates(
        [rate for one in found for rate in one.rounds],
        [time for one in found for time in one.latencies],
    )


def drive_tasks(
    call: Callable[..., Awaitable[Any]], xs: Sequence[Arrays], tasks: int, scale: Scale,
    warm: float, check: Check,
) -> Rates:  # fmt: skip
    """Do what `drive` does, with tasks of one event loop for threads."""
    return asyncio.run(_drive_tasks(call, xs, tasks, scale, warm, check))


async def _drive_tasks(
    call: Callable[..., Awaitable[Any]], xs: Sequence[Arrays], tasks: int, scale: Scale,
    warm: float, check: Check,
) -> Rates:  # fmt: skip
    times: list[list[float]] = [[] for _ in range(tasks)]
    running = True
    clock = time.perf_counter

    async def send_first(index: int) -> None:
        for _ in range(3):
            check(await call(*xs[index % len(xs)]), index % len(xs))

    async def send(index: int) -> None:
        x, mine, y = xs[index % len(xs)], times[index], None
        while running:
            start = clock()
            y = await call(*x)
            mine.append(clock() - start)
        if y is not None:
            check(y, index % len(xs))

    await asyncio.gather(*map(send_first, range(tasks)))
    clients = [asyncio.ensure_future(send(index)) for index in range(tasks)]
    rounds = []
    try:
        await asyncio.sleep(warm)
        begun = [len(mine) for mine in times]
        for _ in range(scale.rounds):
            before, start = sum(map(len, times)), clock()
            await asyncio.sleep(scale.seconds)
            rounds.append((sum(map(len, times)) - before) / (clock() - start))
        ends = [len(mine) for mine in times]
    finally:
        running = False
        await asyncio.gather(*clients)
    spans = zip(times, begun, ends, strict=True)
    return Rates(rounds, [1e6 * t for mine, first, end in spans for t in mine[first:end]])


def drive_submits(
    submit: Callable[..., Future[Any]], xs: Sequence[Arrays], depth: int, scale: Scale,
    warm: float, check: Check,
) -> Rates:  # fmt: skip
    """Keep so many requests in flight from one thread, and wait for the oldest each time.

    Args:
        submit: returns a future.
        xs: the inputs, which take turns.
        depth: the number of requests in flight.
        scale: how long to measure.
        warm: seconds of warm-up.
        check: called for all inputs before and after the measurement.
    """
    clock = time.perf_counter
    count = len(xs)

    def check_all() -> None:
        for _ in range(3):
            for index, future in [(i, submit(*x)) for i, x in enumerate(xs)]:
                check(future.result(), index)

    def send(seconds: float) -> tuple[float, list[float]]:
        ahead: deque[tuple[float, Future[Any]]] = deque()
        times: list[float] = []
        sent, start = 0, clock()
        now, end = start, start + seconds
        while now < end:
            while len(ahead) < depth:
                ahead.append((now, submit(*xs[sent % count])))
                sent, now = sent + 1, clock()
            begin, future = ahead.popleft()
            future.result()
            now = clock()
            times.append(now - begin)
        rate = len(times) / (now - start)
        for _, future in ahead:
            future.result()
        return rate, times

    check_all()
    send(warm)
    found = [send(scale.seconds) for _ in range(scale.rounds)]
    check_all()
    return Rates([rate for rate, _ in found], [1e6 * t for _, times in found for t in times])
