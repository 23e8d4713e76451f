"""Infer requests of a model, counted by how they ended."""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fasttrt import _core

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Why requests fail, as Triton's metrics call it."""
LATENCY_BOUNDS_NS = _core.latency_bounds_ns()
"""The longest time of each bucket of latencies; one more bucket has all that took longer."""


def _no_latency() -> list[int]:
    return [0] * (len(LATENCY_BOUNDS_NS) + 1)


@dataclass
class RequestTotals:
    """Sums over the requests that reached a model's engine; others failed before they were any.

    Attributes:
        success: requests that were answered.
        success_ns: from when they came until their answers were complete.
        latency: requests by the bucket of that time, see `LATENCY_BOUNDS_NS`.
        rows: of their batches.
        failures: requests by the reason of their failure, of `REASONS`.
        fail_ns: from when they came until they failed.
        last_ms: when the last one ended, in milliseconds since the epoch; 0 for none.
    """

    success: int = 0
    success_ns: int = 0
    rows: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    fail_ns: int = 0
    last_ms: int = 0
    latency: list[int] = field(default_factory=_no_latency)

    def add(self, counters: Mapping[str, Any]) -> None:
        """Add what the front end counted, see `HttpServer.model_counters`."""
        self.success += counters["success"]
        self.success_ns += counters["success_ns"]
        self.latency = [a + b for a, b in zip(self.latency, counters["latency"], strict=True)]
        self.rows += counters["rows"]
        self.failures.update({reason: counters[reason.lower()] for reason in REASONS})
        self.fail_ns += counters["fail_ns"]
        self.last_ms = max(self.last_ms, counters["last_ms"])


class RequestCounters:
    """Counts requests, from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = RequestTotals()

    def succeed(self, begun: int, rows: int) -> None:
        """Count a request that was answered, and came when `time.perf_counter_ns` was ``begun``."""
        taken = time.perf_counter_ns() - begun
        with self._lock:
            self._totals.success += 1
            self._totals.success_ns += taken
            self._totals.latency[bisect_left(LATENCY_BOUNDS_NS, taken)] += 1
            self._totals.rows += rows
            self._totals.last_ms = _now_ms()

    def fail(self, begun: int, reason: str) -> None:
        """Count a request that failed, for one of `REASONS`; see `succeed`."""
        taken = time.perf_counter_ns() - begun
        with self._lock:
            self._totals.failures[reason] += 1
            self._totals.fail_ns += taken
            self._totals.last_ms = _now_ms()

    def totals(self) -> RequestTotals:
        """Return a copy of the sums."""
        with self._lock:
            t = self._totals
            return replace(t, failures=t.failures.copy(), latency=t.latency.copy())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
