"""One measured case: a model, a precision, a batch, so many contexts and callers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fasttrt._bench.closed_loop import Rates, Scale, drive
from fasttrt._bench.statistics import Stats, summarize
from fasttrt._bench.wall_clock import timed
from fasttrt._engine.engine import Engine, backend_of
from fasttrt.errors import InputError

Arrays = tuple[np.ndarray[Any, Any], ...]

TERMS = {
    "h2d": "H2D Latency",
    "compute": "GPU Compute Time",
    "d2h": "D2H Latency",
    "enqueue": "Enqueue Time",
}
"""trtexec's names of what the core measures."""
ROUNDS = 5
"""Parts of a measurement, to tell how much it varies."""
LATENCY, WALL = "Latency", "infer() wall time"


class Effort(NamedTuple):
    """How long to measure."""

    runs: int
    duration: float
    """Seconds that a series of runs takes at most, and that threads are driven for."""
    warmup: float
    """Seconds before it."""


@dataclass(frozen=True)
class Case:
    """What was measured, and how."""

    model: str
    device: str
    precision: str
    batch: int | None
    """The first extent of the inputs; None where they have none in common."""
    contexts: int
    concurrency: int
    throughput: float | None
    """Queries a second, by GPU events, one after the other. None on the CPU."""
    rate: float
    """Calls of infer() a second, of all threads together, by the host's clock."""
    times: dict[str, Stats]
    """Of each term, in microseconds."""
    cuda_graph: str
    """``"yes"``, ``"no"``: whether one was launched; ``"none"`` on the CPU."""
    wait: str

    def to_json(self) -> dict[str, Any]:
        """All of it; transfers are always in the times."""
        kept = {k: v for k, v in vars(self).items() if k != "times"}
        times = {name: stats._asdict() for name, stats in self.times.items()}
        return {**kept, "transfers": "yes", "times_us": times}


def measure(
    engine: Engine, inputs: Sequence[Arrays], effort: Effort, *, model: str, precision: str,
    contexts: int, concurrency: int, wait: str,
) -> Case:  # fmt: skip
    """Time an engine on inputs that take turns.

    Args:
        engine: on one GPU, or on the CPU, where only `WALL` can be told.
        inputs: arrays in host memory, at least one sample.
        effort: how long.
        model: for the result, as the following; ``concurrency`` is the threads that call.
        precision: as asked for.
        contexts: the engine's.
        concurrency: threads, each with one call after the other.
        wait: as the engine was told.

    Raises:
        InputError: the engine is on several GPUs.
        Error: a tensor is on the host, or the size of a result depends on the data.
    """
    refuse_several(engine)
    times: dict[str, Stats] = {}
    throughput, graph = None, "none"
    if engine.device != "cpu":
        found = _phases(engine, inputs[0], effort)
        sums = [
            sum(parts) for parts in zip(found["h2d"], found["compute"], found["d2h"], strict=True)
        ]
        times[LATENCY] = summarize(sums)
        times |= {term: summarize(found[key]) for key, term in TERMS.items()}
        throughput = 1e6 * len(sums) / found["total"]
        graph = "yes" if found["graph"] else "no"
    if concurrency == 1:
        walls = wall_times(engine, inputs, effort)
        rate = 1e6 * len(walls) / sum(walls)
    else:
        rates = call_rates(engine, inputs, effort, concurrency)
        walls, rate = rates.latencies, rates.median
    times[WALL] = summarize(walls)
    shapes = {array.shape[:1] for array in inputs[0]}
    batch = shapes.pop()[0] if len(shapes) == 1 and () not in shapes else None
    return Case(
        model, engine.device, precision, batch, contexts, concurrency, throughput, rate, times,
        graph, wait,
    )  # fmt: skip


def refuse_several(engine: Engine) -> None:
    """Raise InputError for an engine on several GPUs."""
    if "," in engine.device:
        raise InputError(f"device: expected one GPU or the CPU, got {engine.device}")


def as_the_engine_computes(engine: Engine, arrays: Arrays) -> Arrays:
    """In the types that TensorRT has, which the core takes."""
    return tuple(
        array if spec.engine_dtype is None else array.astype(spec.engine_dtype)
        for spec, array in zip(engine.inputs, arrays, strict=True)
    )


def _phases(engine: Engine, arrays: Arrays, effort: Effort) -> dict[str, Any]:
    backend: Any = backend_of(engine)
    arrays = as_the_engine_computes(engine, arrays)
    time_phases = partial(backend.core.time_phases, list(arrays))
    seconds = time_phases(5)["total"] / 5e6
    time_phases(_fitting(effort.runs, effort.warmup, seconds))
    found: dict[str, Any] = time_phases(_fitting(effort.runs, effort.duration, seconds))
    return found


def wall_times(engine: Engine, inputs: Sequence[Arrays], effort: Effort) -> list[float]:
    """How long infer() takes in us, one call after the other; inputs take turns."""
    start, warm = time.perf_counter(), 0
    while warm < 3 or time.perf_counter() - start < effort.warmup:
        engine.infer(*inputs[warm % len(inputs)])
        warm += 1
    each = (time.perf_counter() - start) / warm
    return timed(engine.infer, inputs, _fitting(effort.runs, effort.duration, each))


def call_rates(engine: Engine, inputs: Sequence[Arrays], effort: Effort, concurrency: int) -> Rates:
    """Calls of infer() a second by so many threads, in `ROUNDS`.

    Raises:
        InputError: the time is too short for a call of each.
    """
    scale = Scale(ROUNDS, effort.duration / ROUNDS, 0)
    rates = drive(engine.infer, inputs, concurrency, scale, effort.warmup, lambda y, i: None)
    if not rates.latencies:
        raise InputError(
            f"duration: expected time for a call of each thread, got {effort.duration:g} s"
        )
    return rates


def _fitting(runs: int, duration: float, seconds: float) -> int:
    """So many runs, or those that fit into the time; at least 3."""
    return max(3, min(runs, int(duration / max(seconds, 1e-9))))
