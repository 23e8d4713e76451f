"""What the benchmarks share: timing, and statistics in trtexec's terms. Tables: `report`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from models import Array, Arrays, Network

import fasttrt
from fasttrt._bench.statistics import Stats as Stats
from fasttrt._bench.statistics import summarize as summarize
from fasttrt._bench.wall_clock import timed as timed
from fasttrt._engine.engine import backend_of

LONGEST = 1.0  # seconds of a round: who is slow runs less often


class LeftOutError(Exception):
    """Something cannot be measured here, which is no failure."""


def _result(result: Any, arguments: tuple[Any, ...]) -> Any:
    return result


@dataclass
class Contestant:
    """One way of running a network, on inputs that take turns."""

    name: str
    call: Callable[..., Any]
    arguments: Sequence[tuple[Any, ...]]
    """For each of the inputs."""
    read: Callable[[Any, tuple[Any, ...]], Any] = _result
    """The answer in host memory, from what the call returned and its arguments."""
    transfers: str = "host"
    """``"host"``: inputs and outputs are in host memory; ``"none"``: on the GPU."""
    graph: str = "auto"
    wait: str = "auto"
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    """What the calls are made in, such as a current stream."""
    replays: Callable[[int], Sequence[float]] | None = None
    """Times itself so many times instead of being called."""
    times: list[list[float]] = field(default_factory=list)
    """In microseconds, for each round."""

    def check(self, network: Network, right: Sequence[Arrays]) -> None:
        """Run each input, several times as a later run may take another way than the first.

        Raises:
            WrongAnswerError: an answer is wrong.
        """
        if self.replays is not None:
            return
        start = time.perf_counter()
        with self.around():
            for repeat in range(4):
                if repeat and time.perf_counter() - start > LONGEST:
                    break
                for arguments, y in zip(self.arguments, right, strict=True):
                    answer = self.read(self.call(*arguments), arguments)
                    network.check(self.name, answer, y)

    def run(self, count: int) -> None:
        """One round: some calls to warm up, then so many timed ones, or what `LONGEST` allows."""
        if self.replays is not None:
            warm = max(count // 4, 20)  # the GPU's clocks have fallen while it was prepared
            self.times.append(list(self.replays(count + warm))[warm:])
            return
        with self.around():
            start, end = time.perf_counter(), 0.0
            turns = itertools.cycle(self.arguments)
            for warm in range(1, max(count // 20, 4 * len(self.arguments)) + 1):
                self.call(*next(turns))
                end = time.perf_counter()
                if warm >= 3 and end - start > LONGEST:
                    break
            most = int(LONGEST * warm / (end - start))
            self.times.append(timed(self.call, self.arguments, max(3, min(count, most))))

    @property
    def stats(self) -> Stats:
        """Of all rounds together."""
        return summarize([t for times in self.times for t in times])


def pinned_copy(array: Array, device: str) -> Array:
    """The same values in page-locked memory; in ordinary memory where there is no GPU."""
    make = getattr(fasttrt, "empty_pinned", np.empty if device == "cpu" else None)
    if make is None:
        raise AttributeError("this fasttrt has no empty_pinned()")
    copy: Array = make(array.shape, array.dtype)
    copy[...] = array
    return copy


def open_engine(network: Network, plan: Any, device: str, **options: Any) -> fasttrt.Engine:
    """An engine for the plan; without a GPU for the model, and then options count for nothing."""
    start = time.perf_counter()
    if device == "cpu":
        engine = fasttrt.Engine(network.model, device=device)
    else:
        engine = fasttrt.Engine(plan, device=device, **options)
    given = ", ".join(f"{name}={value}" for name, value in options.items()) or "as it comes"
    took = time.perf_counter() - start
    print(f"engine for {network.name} ({given}): {took:.2f} s to load", flush=True)
    return engine


def build(network: Network, device: str, **shapes: int) -> Any | None:
    """The plan; none without a GPU."""
    if device == "cpu":
        return None
    start = time.perf_counter()
    plan = fasttrt.build(network.model, shapes=network.shapes(**shapes), progress=False)
    took = time.perf_counter() - start
    print(f"plan for {network.name}: {took:.2f} s to build, {len(plan.data)} bytes", flush=True)
    return plan


def replay_times(engine: fasttrt.Engine, inputs: Arrays, count: int) -> list[float]:
    """Microseconds of each replay of the run's CUDA graph by a C++ loop, all data on the GPU."""
    backend: Any = backend_of(engine)
    times: list[float] = backend.core.time_replays(list(inputs), count)
    return times
