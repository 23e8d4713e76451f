"""Rates and percentiles, from the sums that a server tells at different times."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

Sums = Mapping[str, Any]
"""What ``/v2/overview`` says: of the server, or of a model."""
_PERCENTILES = (0.5, 0.9, 0.99)
_NONE: Sums = {}


@dataclass(frozen=True)
class ModelRates:
    """What a version of a model does now.

    Attributes:
        name: The model's name.
        version: The version; empty if not even that is known.
        state: ``"READY"`` and the like.
        reason: Why it is not ready.
        device: Where it runs, as in ``"cuda:0"``; empty if it is not loaded.
        in_memory: False if its next request has to wait until it is loaded again.
        requests: All that it has answered since it was loaded.
        requests_per_second: Answered now.
        rows_per_second: Of their batches.
        failures_per_second: Failed now.
        pending: Requests that wait.
        mean_batch: Rows of a run, on average.
        batch_sizes: Runs by the rows that they had.
        latency_ms: Milliseconds at the percentiles 50, 90 and 99; none if no request was answered.
        memory_bytes: What the engine holds where it runs.
    """

    name: str
    version: str
    state: str
    reason: str = ""
    device: str = ""
    in_memory: bool = True
    requests: int = 0
    requests_per_second: float = 0.0
    rows_per_second: float = 0.0
    failures_per_second: float = 0.0
    pending: int = 0
    mean_batch: float | None = None
    batch_sizes: Mapping[int, int] = field(default_factory=dict)
    latency_ms: tuple[float, ...] = ()
    memory_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        found = asdict(self)
        names = ("p50", "p90", "p99")
        found["latency_ms"] = dict(zip(names, self.latency_ms, strict=False))
        found["batch_sizes"] = {str(size): runs for size, runs in self.batch_sizes.items()}
        return found


class History:
    """The last states of a server: rates are those since the last but one, the rest since all."""

    def __init__(self, length: int) -> None:
        """Keep so many states."""
        self._states: deque[Sums] = deque(maxlen=length)

    def add(self, state: Sums) -> None:
        """Add a state; those of a server that was started before this one's are forgotten."""
        if self._states and self._states[-1]["started"] != state["started"]:
            self._states.clear()
        self._states.append(state)

    def models(self) -> list[ModelRates]:
        """Return what each model does, in the server's order."""
        if not self._states:
            return []
        oldest, now = self._states[0], self._states[-1]
        before = self._states[-2] if len(self._states) > 1 else now
        seconds = now["uptime_seconds"] - before["uptime_seconds"]
        return [
            _rates(model, _same(before, model), _same(oldest, model), seconds, now)
            for model in now["models"]
        ]


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the value that this share of all is not above; None if there is none.

    Args:
        bounds: of the buckets, ascending; the last bucket has none.
        counts: how many are in each bucket.
        share: from 0 to 1.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    for index, below in enumerate(accumulate(counts)):
        if below >= rank and counts[index]:
            if index == len(bounds):
                break
            low = bounds[index - 1] if index else 0.0
            inside = (rank - (below - counts[index])) / counts[index]
            return low + (bounds[index] - low) * inside
    return bounds[-1]


def _rates(now: Sums, before: Sums, oldest: Sums, seconds: float, state: Sums) -> ModelRates:
    if "requests" not in now:
        return ModelRates(now["name"], now["version"], now["state"], now["reason"])
    sizes = {
        int(size): runs - oldest.get("batch_sizes", _NONE).get(size, 0)
        for size, runs in now["batch_sizes"].items()
    }
    sizes = {size: runs for size, runs in sorted(sizes.items()) if runs > 0}
    runs = sum(sizes.values())
    latency = [
        a - b
        for a, b in zip(
            now["latency"], oldest.get("latency", [0] * len(now["latency"])), strict=True
        )
    ]
    found = [percentile(state["latency_bounds_us"], latency, share) for share in _PERCENTILES]

    def rate(total: int, total_before: int) -> float:
        return (total - total_before) / seconds if seconds > 0 else 0.0

    failures, failures_before = (
        sum(sums.get("failures", _NONE).values()) for sums in (now, before)
    )
    return ModelRates(
        now["name"],
        now["version"],
        now["state"],
        now["reason"],
        now["device"],
        now["in_memory"],
        requests=now["requests"],
        requests_per_second=rate(now["requests"], before.get("requests", 0)),
        rows_per_second=rate(now["rows"], before.get("rows", 0)),
        failures_per_second=rate(failures, failures_before),
        pending=now["pending"],
        mean_batch=sum(size * count for size, count in sizes.items()) / runs if runs else None,
        batch_sizes=sizes,
        latency_ms=tuple(us / 1000 for us in found if us is not None),
        memory_bytes=now["memory"].get("GPU", now["memory"].get("CPU", 0)),
    )


def _same(state: Sums, model: Sums) -> Sums:
    """Return a model's sums in an earlier state; none if it was loaded again since then."""
    for found in state["models"]:
        if (found["name"], found["version"]) == (model["name"], model["version"]):
            counted = [(found.get(key, 0), model.get(key, 0)) for key in ("requests", "executions")]
            return found if all(before <= now for before, now in counted) else _NONE
    return _NONE
