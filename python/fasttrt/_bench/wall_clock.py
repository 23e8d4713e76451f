"""Wall-clock times of calls."""

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any


def timed(
    call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], count: int
) -> list[float]:
    """Measure the wall-clock time of each call in microseconds, on alternating inputs."""
    times = [0] * count
    turns = list(itertools.islice(itertools.cycle(arguments), count))
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for i, given in enumerate(turns):
            start = clock()
            call(*given)
            times[i] = clock() - start
    finally:
        gc.enable()
    return [t / 1000 for t in times]
