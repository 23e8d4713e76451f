"""Statistics by trtexec's formulas."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Stats(NamedTuple):
    """Statistics of times in microseconds, by trtexec's formulas."""

    runs: int
    min: float
    max: float
    mean: float
    median: float
    p90: float
    p95: float
    p99: float


def summarize(times: Sequence[float]) -> Stats:
    """Compute the statistics of at least one time."""
    ordered = sorted(times)
    count = len(ordered)
    middle = count // 2
    median = ordered[middle] if count % 2 else (ordered[middle - 1] + ordered[middle]) / 2

    def percentile(percent: int) -> float:
        return ordered[max(count - 1 - int((1 - percent / 100) * count), 0)]

    return Stats(
        count, ordered[0], ordered[-1], sum(ordered) / count, median,
        percentile(90), percentile(95), percentile(99),
    )  # fmt: skip


def in_rounds(times: Sequence[float], rounds: int) -> list[float]:
    """Return the medians of ``rounds`` parts of a series (fewer, if it is shorter), in order."""
    count = min(rounds, len(times))
    ends = [len(times) * k // count for k in range(count + 1)]
    return [statistics.median(times[a:b]) for a, b in pairwise(ends)]
