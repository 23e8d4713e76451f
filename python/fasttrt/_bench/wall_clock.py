"""The wall-clock time of calls."""

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any


def timed(
    call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], count: int
) -> list[float]:
    """Microseconds of wall-clock time that each call takes; inputs take turns."""
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
