"""Closed-loop load: many threads that each send one request after another."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple


class Scale(NamedTuple):
    """How long to measure."""

    rounds: int
    seconds: float  # of a round
    replays: int


class Rates(NamedTuple):
    """Requests per second in each of the rounds, and the latencies of requests, in us."""

    rounds: list[float]
    latencies: list[float]

    @property
    def median(self) -> float:
        """Requests per second."""
        return statistics.median(self.rounds)


def drive(
    call: Callable[..., Any], xs: Sequence[tuple[Any, ...]], threads: int, scale: Scale,
    warm: float, check: Callable[[Any, int], Any],
) -> Rates:  # fmt: skip
    """Call from many threads, each with its own input, one call after another.

    Args:
        call: the function to measure.
        xs: the inputs; threads share them if there are fewer.
        threads: the number of threads.
        scale: how long to measure.
        warm: seconds of warm-up.
        check: raises if the result for the input with that index is wrong; called before and after
            the measurement.
    """
    running = [True]
    times: list[list[float]] = [[] for _ in range(threads)]
    gate = threading.Barrier(threads + 1)

    def work(index: int) -> None:
        try:
            chosen = index % len(xs)
            x, mine, clock = xs[chosen], times[index], time.perf_counter
            for _ in range(3):
                check(call(*x), chosen)
            gate.wait(120)
            y = None
            while running[0]:
                start = clock()
                y = call(*x)
                mine.append(clock() - start)
            if y is not None:
                check(y, chosen)
        except BaseException:
            gate.abort()
            raise

    pool = ThreadPoolExecutor(threads)
    futures = [pool.submit(work, i) for i in range(threads)]
    rounds, begun = [], [0] * threads
    try:
        gate.wait(120)
        time.sleep(warm)
        begun = [len(mine) for mine in times]
        for _ in range(scale.rounds):
            before, start = sum(map(len, times)), time.perf_counter()
            time.sleep(scale.seconds)
            done, end = sum(map(len, times)), time.perf_counter()
            rounds.append((done - before) / (end - start))
    except threading.BrokenBarrierError:
        pass  # the futures have the cause
    finally:
        running[0] = False
        pool.shutdown()
    problems = [problem for future in futures if (problem := future.exception()) is not None]
    if problems:  # the other threads only saw the broken barrier
        causes = [p for p in problems if not isinstance(p, threading.BrokenBarrierError)]
        raise (causes or problems)[0]
    ends = [len(mine) for mine in times]
    latencies = [
        1e6 * t
        for mine, first, end in zip(times, begun, ends, strict=True)
        for t in mine[first:end]
    ]
    return Rates(rounds, latencies)
