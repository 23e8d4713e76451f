"""Waiting for what other threads do; the threads of this process, in Python and in C++."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from support.gate import PATIENCE

Result = TypeVar("Result")


def wait_until(condition: Callable[[], bool], patience: float = 30) -> None:
    """Wait until a condition holds; fail after so many seconds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@contextmanager
def under_load(loads: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run each load in a thread of its own, until the block ends, which sets its event."""
    is_over = threading.Event()
    loaders = [threading.Thread(target=load, args=(is_over,)) for load in loads]
    for loader in loaders:
        loader.start()
    try:
        yield
    finally:
        is_over.set()
        for loader in loaders:
            loader.join(PATIENCE)
    assert not any(loader.is_alive() for loader in loaders)


def at_once(count: int, function: Callable[[], Result]) -> list[Result]:
    """Call a function in so many threads at the same moment, and return what it returned."""
    barrier = threading.Barrier(count)

    def call(_: int) -> Result:
        barrier.wait(PATIENCE)
        return function()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def threads() -> set[str]:
    """Return the system's numbers of this process's threads."""
    return {task.name for task in Path("/proc/self/task").iterdir()}


def await_end(before: set[str]) -> None:
    """Wait until no threads are left but those of ``before``."""
    wait_until(lambda: threads() <= before, PATIENCE)
