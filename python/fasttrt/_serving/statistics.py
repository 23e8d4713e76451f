"""Statistics of models, with Triton's meaning of each number."""

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fasttrt._engine.engine import Engine, queue_statistics
from fasttrt._serving.engine_memory import bytes_of
from fasttrt._serving.request_counters import RequestCounters, RequestTotals

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel

FrontCounters = Callable[[str, str], Mapping[str, Any]]
"""What the front end counted of the requests that it answered itself, by model and version."""
_PHASES = ("compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class ModelTotals:
    """Everything that is known of a model's requests, cumulative since it was loaded.

    Attributes:
        requests: those that the server answered.
        executions: runs of the model, each for one request or a batch of them.
        queue_ns: waiting for a run, summed over requests.
        compute_ns: input, inference and output, summed over requests: each one of a batch counts
            the whole run.
        batches: by the size of a batch without padding: runs, and nanoseconds of input, inference
            and output.
        pending: requests that wait now.
        memory: bytes held, by kind: GPU, CPU, CPU_PINNED.
    """

    requests: RequestTotals
    executions: int = 0
    queue_ns: int = 0
    compute_ns: tuple[int, int, int] = (0, 0, 0)
    batches: Mapping[int, tuple[int, tuple[int, int, int]]] = field(default_factory=dict)
    pending: int = 0
    memory: Mapping[str, int] = field(default_factory=dict)


class Statistics:
    """Counts the infer requests of all models, and adds what engines and the front end counted."""

    def __init__(self, front: FrontCounters | None = None) -> None:
        """Begin with none; ``front`` tells of requests that never come here."""
        self._front = front
        self._counters: weakref.WeakKeyDictionary[Engine, dict[tuple[str, str], RequestCounters]]
        self._counters = weakref.WeakKeyDictionary()

    def counters(self, model: "LoadedModel") -> RequestCounters:
        """Return the counters of a loaded model; it has new ones when it is loaded again."""
        of_engine = self._counters.get(model.engine)
        if of_engine is None:
            of_engine = self._counters.setdefault(model.engine, {})
        key = (model.name, model.version)
        return of_engine.get(key) or of_engine.setdefault(key, RequestCounters())

    def totals(self, model: "LoadedModel") -> ModelTotals:
        """Return the sums of a model."""
        requests = self.counters(model).totals()
        if self._front is not None:
            requests.add(self._front(model.name, model.version))
        found = queue_statistics(model.engine)
        stats = model.engine.stats()
        inside = (stats.staging_seconds, stats.compute_seconds, stats.copy_out_seconds)
        seconds = found["request_seconds"]
        return ModelTotals(
            requests,
            executions=sum(runs for runs, *_ in found["batches"].values()),
            queue_ns=_ns(seconds["queue"]),
            compute_ns=_phases(seconds["staging"], seconds["run"], seconds["copy_out"], inside),
            batches={
                rows: (runs, _phases(0.0, run, copy_out, inside))
                for rows, (runs, run, copy_out) in sorted(found["batches"].items())
            },
            pending=stats.queue_depth,
            memory={
                "CPU" if model.engine.device == "cpu" else "GPU": bytes_of(model),
                "CPU_PINNED": stats.pinned_bytes,
            },
        )

    def to_json(self, model: "LoadedModel") -> dict[str, Any]:
        """Return a model's entry in ``model_stats``."""
        totals = self.totals(model)
        requests = totals.requests
        count = requests.success
        phases = zip(_PHASES, totals.compute_ns, strict=True)
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": requests.last_ms,
            "inference_count": requests.rows,
            "execution_count": totals.executions,
            "inference_stats": {
                "success": _duration(count, requests.success_ns),
                "fail": _duration(requests.failures.total(), requests.fail_ns),
                "queue": _duration(count, totals.queue_ns),
                **{name: _duration(count, ns) for name, ns in phases},
                "cache_hit": _duration(0, 0),
                "cache_miss": _duration(0, 0),
            },
            "response_stats": {},
            "batch_stats": [
                {"batch_size": rows}
                | {name: _duration(runs, ns) for name, ns in zip(_PHASES, spent, strict=True)}
                for rows, (runs, spent) in totals.batches.items()
            ],
            "memory_usage": [
                {"type": kind, "id": 0, "byte_size": size}
                for kind, size in totals.memory.items()
                if size
            ],
        }


def _phases(
    staging: float, run: float, copy_out: float, inside: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Return the nanoseconds of input, inference and output.

    The queue knows its own copies, and how long runs took. The parts of input and output in these
    are those ``inside`` all of the engine's runs: the sums of staging, computing and copying out.
    """
    spent = sum(inside)
    before, after = (inside[0] / spent, inside[2] / spent) if spent else (0.0, 0.0)
    return (
        _ns(staging + run * before),
        _ns(run * (1 - before - after)),
        _ns(run * after + copy_out),
    )


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
