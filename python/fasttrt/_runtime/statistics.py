"""`EngineStats`: what an engine has done so far, and what it holds."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from fasttrt._common.tensor_spec import Shape, TensorSpec

_APART = ("calls", "errors", "observed")
_OUTCOMES = ("ok", "error", "deadline", "rejected", "cancelled")


@dataclass(frozen=True)
class EngineStats:
    """What an engine has done since it was created, and what it holds; of all its GPUs together.

    Counting goes on all the time. Differences of two of them tell about the time in between. Times
    are sums over all runs, in seconds, so that they may add up to more than has passed.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    """The number of requests by their outcome: ``ok``, ``error``, ``deadline`` (not complete in
    time), ``rejected`` (the queue was full) and ``cancelled``. A call of `Engine.infer` is one."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """The number of errors by the name of their class; those outside fasttrt's are ``Error``."""
    runs: int = 0
    """How often the model ran; with `Batching`, a run serves several requests."""
    rows: int = 0
    """The sum of the first dimension of the first input, over all runs."""
    batch_sizes: Mapping[int, int] = field(default_factory=dict)
    """The number of runs by that dimension; sizes beyond the first 256 count as 0."""
    queue_depth: int = 0
    """Requests that wait now."""
    max_queue_depth: int = 0
    """Requests that waited at once, at most."""
    queue_seconds: float = 0.0
    """Waiting in the queue, and for one of the engine's contexts."""
    staging_seconds: float = 0.0
    """Copying inputs to where the GPU reads them, and enqueueing the work."""
    compute_seconds: float = 0.0
    """Waiting for the GPU, copies of large arrays included. Runs that nobody waits for, as on a
    stream, are not in it. On the CPU, the run itself."""
    copy_out_seconds: float = 0.0
    """Copying results to the caller's memory."""
    graph_replays: int = 0
    """Runs that replayed a CUDA graph."""
    graph_captures: int = 0
    """CUDA graphs that were captured."""
    compiles: int = 0
    """Sizes that runs were the first to have, for which TensorRT-RTX compiled kernels, or took them
    from the cache."""
    compile_seconds: float = 0.0
    """The part of ``staging_seconds`` that this took."""
    model_bytes: int = 0
    """The size of the plan, which is what its weights and kernels take on each GPU, or of those
    weights that are to be there (``weight_streaming_budget``). On the CPU, that of the model."""
    device_bytes: int = 0
    """GPU memory for inputs, outputs and what lies between them, without weights and graphs."""
    pinned_bytes: int = 0
    """Page-locked host memory for inputs, outputs and results, without the results in use."""
    tuned: tuple[Mapping[str, Shape], ...] = ()
    """The inputs' shapes that have an optimization profile of their own."""
    observed: tuple[Mapping[str, Shape], ...] = ()
    """The inputs' shapes for which plans of their own were built, as they came often."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        found = asdict(self)
        found["batch_sizes"] = {str(size): runs for size, runs in self.batch_sizes.items()}
        return found


def engine_stats(
    backend: Mapping[str, Any], queue: Mapping[str, Any], tuned: Sequence[Mapping[str, Shape]] = ()
) -> EngineStats:
    """Combine what a backend and the queue of requests counted.

    Args:
        backend: see `Backend.statistics`.
        queue: see `RequestQueue.statistics`; empty if there is none. Its function runs are among
            the calls of the backend.
        tuned: see `EngineStats`.
    """
    requests = Counter(dict.fromkeys(_OUTCOMES, 0))
    requests.update(queue.get("requests", {}))
    direct = backend["calls"] - queue.get("function_runs", 0)  # calls that were not queued
    requests["ok"] += direct
    requests["error"] = max(requests["error"], sum(backend["errors"].values()))
    found = {name: value for name, value in backend.items() if name not in _APART}
    for name, seconds in queue.get("seconds", {}).items():
        if name != "run":  # which is known in detail
            found[f"{name}_seconds"] += seconds
    return EngineStats(
        requests=dict(requests),
        errors=dict(backend["errors"]),
        queue_depth=queue.get("waiting", 0),
        max_queue_depth=queue.get("most_waiting", 0),
        tuned=tuple(tuned),
        observed=tuple(backend.get("observed", ())),
        **found,
    )


def tuned_shapes(inputs: Sequence[TensorSpec]) -> tuple[Mapping[str, Shape], ...]:
    """Return the shapes of an engine's inputs that have an optimization profile of their own.

    For a shape tensor, its values.
    """
    profiles = zip(*(spec.profiles for spec in inputs), strict=True)
    return tuple(
        {spec.name: opt for spec, (_, opt, _) in zip(inputs, profile, strict=True)}
        for profile in profiles
        if all(min_ == max_ for min_, _, max_ in profile)
    )


def sum_statistics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what several backends counted; mappings are added by key, lists are joined."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, Mapping):
                total[name] = dict(Counter(total.get(name, {})) + Counter(value))
            else:
                total[name] = total[name] + value if name in total else value
    return total


class RunCounter:
    """Counts the runs of a backend that does not count itself."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._runs = 0
        self._rows = 0
        self._seconds = 0.0
        self._sizes: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()

    @contextmanager
    def one(self, arrays: Sequence[Any]) -> Iterator[None]:
        """Count the run in the block, or its error."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            with self._lock:
                self._errors[type(error).__name__] += 1
            raise
        seconds = time.perf_counter() - start
        shape = getattr(arrays[0], "shape", ()) if arrays else ()
        rows = shape[0] if shape else 1
        with self._lock:
            self._runs += 1
            self._rows += rows
            self._seconds += seconds
            if rows in self._sizes or len(self._sizes) < 256:
                self._sizes[rows] += 1
            else:
                self._sizes[0] += 1

    def statistics(self) -> dict[str, Any]:
        """Return what was counted, see `Backend.statistics`."""
        with self._lock:
            return {
                "calls": self._runs,
                "runs": self._runs,
                "rows": self._rows,
                "batch_sizes": dict(self._sizes),
                "compute_seconds": self._seconds,
                "queue_seconds": 0.0,
                "staging_seconds": 0.0,
                "copy_out_seconds": 0.0,
                "errors": dict(self._errors),
            }
