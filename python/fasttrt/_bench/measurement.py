"""Measurement of one case: a model with a precision, batch size, contexts and calling threads."""

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
"""trtexec's names for the times that the core measures."""
ROUNDS = 5
"""The number of parts of a measurement, which show its variation."""
LATENCY, WALL = "Latency", "infer() wall time"


class Budget(NamedTuple):
    """How long to measure."""

    runs: int
    duration: float
    """The maximum duration of a series of runs, and that of concurrent calls, in seconds."""
    warmup: float
    """Seconds of warm-up before it."""


@dataclass(frozen=True)
class Case:
    """The conditions and results of a measurement."""

    model: str
    device: str
    precision: str
    batch: int | None
    """The common first dimension of the inputs; None if they have none."""
    contexts: int
    concurrency: int
    throughput: float | None
    """Queries per second, by GPU events, one after another. None on the CPU."""
    rate: float
    """Calls of infer() per second, of all threads together, by the host's clock."""
    times: dict[str, Stats]
    """The statistics of each term, in microseconds."""
    cuda_graph: str
    """``"yes"`` or ``"no"``: whether a CUDA graph was launched; ``"none"`` on the CPU."""
    wait: str

    def to_json(self) -> dict[str, Any]:
        """Return all figures as JSON values; the times always include transfers."""
        kept = {k: v for k, v in vars(self).items() if k != "times"}
        times = {name: stats._asdict() for name, stats in self.times.items()}
        return {**kept, "transfers": "yes", "times_us": times}


def measure(
    engine: Engine, inputs: Sequence[Arrays], budget: Budget, *, model: str, precision: str,
    contexts: int, concurrency: int, wait: str,
) -> Case:  # fmt: skip
    """Measure an engine on alternating inputs.

    Args:
        engine: an engine on one GPU, or on the CPU, where only `WALL` can be measured.
        inputs: arrays in host memory, at least one sample.
        budget: how long to measure.
        model: the model's name, for the result.
        precision: the requested precision, for the result.
        contexts: the engine's number of contexts, for the result.
        concurrency: the number of threads, each making one call after another.
        wait: the engine's option, for the result.

    Raises:
        InputError: the engine is on several GPUs.
        Error: a tensor is on the host, or the size of a result depends on the data.
    """
    check_single_device(engine)
    times: dict[str, Stats] = {}
    throughput, graph = None, "none"
    if engine.device != "cpu":
        phases = _phases(engine, inputs[0], budget)
        sums = [
            sum(parts)
            for parts in zip(phases["h2d"], phases["compute"], phases["d2h"], strict=True)
        ]
        times[LATENCY] = summarize(sums)
        times |= {term: summarize(phases[key]) for key, term in TERMS.items()}
        throughput = 1e6 * len(sums) / phases["total"]
        graph = "yes" if phases["graph"] else "no"
    if concurrency == 1:
        walls = wall_times(engine, inputs, budget)
        rate = 1e6 * len(walls) / sum(walls)
    else:
        rates = call_rates(engine, inputs, budget, concurrency)
        walls, rate = rates.latencies, rates.median
    times[WALL] = summarize(walls)
    shapes = {array.shape[:1] for array in inputs[0]}
    batch = shapes.pop()[0] if len(shapes) == 1 and () not in shapes else None
    return Case(
        model, engine.device, precision, batch, contexts, concurrency, throughput, rate, times,
        graph, wait,
    )  # fmt: skip


def check_single_device(engine: Engine) -> None:
    """Raise an InputError if the engine is on several GPUs."""
    if "," in engine.device:
        raise InputError(f"device: expected one GPU or the CPU, got {engine.device}")


def to_engine_dtypes(engine: Engine, arrays: Arrays) -> Arrays:
    """Convert arrays to the dtypes that TensorRT computes with, which the core requires."""
    return tuple(
        array if spec.engine_dtype is None else array.astype(spec.engine_dtype)
        for spec, array in zip(engine.inputs, arrays, strict=True)
    )


def _phases(engine: Engine, arrays: Arrays, budget: Budget) -> dict[str, Any]:
    backend: Any = backend_of(engine)
    arrays = to_engine_dtypes(engine, arrays)
    time_phases = partial(backend.core.time_phases, list(arrays))
    seconds = time_phases(5)["total"] / 5e6
    time_phases(runs_within(budget.runs, budget.warmup, seconds))
    phases: dict[str, Any] = time_phases(runs_within(budget.runs, budget.duration, seconds))
    return phases


def wall_times(engine: Engine, inputs: Sequence[Arrays], budget: Budget) -> list[float]:
    """Measure the time of each call of infer() in us, one after another, on alternating inputs."""
    start, warm = time.perf_counter(), 0
    while warm < 3 or time.perf_counter() - start < budget.warmup:
        engine.infer(*inputs[warm % len(inputs)])
        warm += 1
    each = (time.perf_counter() - start) / warm
    return timed(engine.infer, inputs, runs_within(budget.runs, budget.duration, each))


def call_rates(engine: Engine, inputs: Sequence[Arrays], budget: Budget, concurrency: int) -> Rates:
    """Measure the calls of infer() per second from several threads, in `ROUNDS`.

    Raises:
        InputError: the time is too short for a call of each thread.
    """
    scale = Scale(ROUNDS, budget.duration / ROUNDS, 0)
    rates = drive(engine.infer, inputs, concurrency, scale, budget.warmup, lambda y, i: None)
    if not rates.latencies:
        raise InputError(
            f"duration: expected enough time for a call of each thread, got {budget.duration:g} s"
        )
    return rates


def runs_within(runs: int, duration: float, seconds: float) -> int:
    """Return ``runs``, or how many of them fit into the time; at least 3."""
    return max(3, min(runs, int(duration / max(seconds, 1e-9))))
