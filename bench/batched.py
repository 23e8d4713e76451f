"""Many clients with one sample each, gathered to batches, beside what any batcher could reach."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from batcher_model import Host, bound
from closed_loop import Scale, checker, drive, drive_tasks
from hand_over import hand_over
from insight import insight
from measure import open_engine, replay_times, summarize, timed
from models import Network
from plots import draw
from report import Report
from ways import Way, show, warm_up

CLIENTS = (1, 4, 16, 32, 64, 128)
TARGETED = (32, 64)  # of them: those that --quick measures
TASKS = 64
SHARE = 0.9  # of the largest batch's rate
SHARE_OF_THREADS = 0.95  # that tasks reach


class Times(NamedTuple):
    """Of a network's runs, in microseconds."""

    batches: dict[int, float]
    """By the size of the batch, the median of CUDA graph replays."""
    host: Host

    @property
    def best_rate(self) -> float:
        """Samples a second of the best batch."""
        return max(1e6 * size / time for size, time in self.batches.items())


def time_batches(report: Report, network: Network, plan: Any) -> Times:
    """Replays of each batch by a plan tuned for all, and what a request costs on the host."""
    batches = {}
    with open_engine(network, plan, report.options.device, contexts=1) as engine:
        for size in network.sizes:
            xs, _ = network.inputs(size, 1)
            replay_times(engine, xs[0], 30)
            batches[size] = summarize(replay_times(engine, xs[0], 60)).median
            report.value(f"{network.name}: replay of batch {size}", batches[size])
    host = _host_times(network)
    for name, value in host._asdict().items():
        report.value(f"host: {name}", value)
    return Times(batches, host)


def _host_times(network: Network) -> Host:
    """What a request costs with threads as clients, whatever gathers them."""
    alone, together = hand_over(1), hand_over(TARGETED[0])
    python = (together - alone) / (TARGETED[0] - 1)
    return Host(wake=max(alone - python, 0.0), python=python, copy=_copy_time(network))


def _copy_time(network: Network) -> float:
    """Microseconds to copy a sample on the host and to the GPU."""
    import torch

    xs, _ = network.inputs(1, 1)
    targets = [np.empty_like(x) for x in xs[0]]
    pinned = [torch.from_numpy(x).pin_memory() for x in xs[0]]

    def copy() -> None:
        for target, x in zip(targets, xs[0], strict=True):
            np.copyto(target, x)

    def upload() -> None:
        for x in pinned:
            x.cuda(non_blocking=True)
        torch.cuda.current_stream().synchronize()

    return sum(statistics.median(timed(call, [()], 50)) for call in (copy, upload))


def batched(
    report: Report, network: Network, plan: Any, way: Way, times: Times | None, scale: Scale
) -> dict[str, float]:
    """Threads and tasks with one engine: requests a second by the clients."""
    device = report.options.device
    on_gpu = device != "cpu"
    warm = 0.3 if on_gpu else 0.05
    clients = (2,) if not on_gpu else TARGETED if report.options.quick else CLIENTS
    rates: dict[str, float] = {}
    with open_engine(network, plan, device, **way.options) as engine:
        xs, right = network.inputs(1, max(TARGETED) // 2 if on_gpu else 2)
        check = checker(network, right, "batching")
        if on_gpu:
            warm_up(report, engine, xs, check)
        for count in clients:
            with insight(report, engine, f"{count} threads"):
                found = drive(engine.infer, xs, count, scale, warm, check)
            show(report, network, "batching", str(way), count, found)
            rates[f"threads {count}"] = found.median
        count = TASKS if on_gpu else 2
        with insight(report, engine, f"{count} tasks"):
            found = drive_tasks(engine.ainfer, xs, count, scale, warm, check)
        show(report, network, "batching", str(way), count, found, "tasks")
        rates[f"tasks {count}"] = found.median
    if times is not None:
        compare(report, network, way, rates, times, clients)
    return rates


def compare(
    report: Report, network: Network, way: Way, rates: dict[str, float], times: Times,
    clients: Sequence[int],
) -> None:  # fmt: skip
    """Print the bounds beside the rates, the targets, and a plot."""
    bounds = {count: bound(times.batches, count, times.host) for count in clients}
    got = {count: rates[f"threads {count}"] for count in clients}
    for count, most in bounds.items():
        print(
            f"{way}, {count} threads: {got[count]:.0f} of {times.best_rate:.0f} samples/s by "
            f"replay of the best batch ({100 * got[count] / times.best_rate:.1f} %); any batcher "
            f"at most {most} ({100 * got[count] / most.rate:.1f} %)"
        )
        report.row(
            network=network.name, case="bound", way=str(way), clients=count, rate=got[count],
            bound=most.rate, batches=most.batches, replay_rate=times.best_rate,
        )  # fmt: skip
    for count in TARGETED:
        text = f"{network.name}: samples/s / those of the best batch by replay, or any batcher's"
        share = got[count] / min(SHARE * times.best_rate, bounds[count].rate)
        report.target(f"{count} threads, {way}", text, got=share, limit=1, most=False)
    text = f"{network.name}: samples/s of {TASKS} tasks / of {TASKS} threads"
    share = rates[f"tasks {TASKS}"] / rates[f"threads {TASKS}"]
    report.target(f"asyncio, {way}", text, got=share, limit=SHARE_OF_THREADS, most=False)
    if report.options.plot is not None:
        path = report.options.plot / f"batching-{network.slug}.png"
        lines: dict[str, list[tuple[float, float]]] = {
            str(way): list(got.items()),
            "any batcher at most": [(count, most.rate) for count, most in bounds.items()],
            "the best batch by replay": [(count, times.best_rate) for count in clients],
        }
        labels = (f"{network.name} ({report.gpu}), one sample a request", "threads", "samples/s")
        report.attempt("plot", draw, path, lines, *labels)
