"""Runs that wait until a test lets them go on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import fasttrt

PATIENCE = 60
"""Seconds after which a test gives up; nothing takes that long unless it hangs."""


def replace_run(engine: fasttrt.Engine, run: Any) -> None:
    """Let a function stand for the engine's runs, of `infer` and of queued requests."""
    engine._run = run
    vars(engine._backend)["run"] = run


class Gate:
    """Stands before an engine's runs: holds them while it is closed, and counts them."""

    def __init__(self, engine: fasttrt.Engine) -> None:
        """Put a closed gate before the engine's backend."""
        self.begun = 0
        self.ended = 0
        self._run = engine._run
        self._open = threading.Event()
        self._arrivals = threading.Semaphore(0)
        self._lock = threading.Lock()
        replace_run(engine, self)

    def __call__(
        self, arrays: Sequence[Any], out: Sequence[Any | None] | None, stream: Any = None
    ) -> Sequence[Any]:
        with self._lock:
            self.begun += 1
        self._arrivals.release()
        assert self._open.wait(PATIENCE)
        try:
            return self._run(arrays, out, stream)
        finally:
            with self._lock:
                self.ended += 1

    def await_arrivals(self, count: int) -> None:
        """Wait until so many more runs stand before the gate, or have passed it."""
        for _ in range(count):
            assert self._arrivals.acquire(timeout=PATIENCE)

    def open(self) -> None:
        """Let all pass."""
        self._open.set()
