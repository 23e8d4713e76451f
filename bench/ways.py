"""Ways to serve requests from many threads: so many contexts, with dynamic batching or without."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from closed_loop import Rates, Scale, checker, drive
from measure import LeftOutError, Stats, open_engine, summarize
from models import Arrays, Network
from report import Report

import fasttrt

HOST = "transfers yes (numpy), CUDA graph auto, wait auto"
THREADS = 32  # of the target


class Steady(NamedTuple):
    """A network with an engine that has run at its largest batch, and what that takes."""

    network: Network
    plan: Any
    engine: fasttrt.Engine
    batch: int
    replay: float | None  # us; None without a GPU
    infer: float  # us


class Way(NamedTuple):
    """Of serving requests."""

    contexts: int
    delay: int = 0  # us
    sizes: tuple[int, ...] = ()  # none: requests are not gathered

    def __str__(self) -> str:
        """As the command line has it, in words."""
        if not self.sizes:
            return f"contexts={self.contexts}, no batching"
        sizes = ", ".join(map(str, self.sizes))
        return f"contexts={self.contexts}, max_delay_us={self.delay}, sizes=({sizes})"

    @property
    def options(self) -> dict[str, Any]:
        """For `fasttrt.Engine`."""
        if not self.sizes:
            return {"contexts": self.contexts}
        batching = fasttrt.Batching(self.sizes[-1], self.delay, self.sizes)
        return {"contexts": self.contexts, "batching": batching}


def parse_way(text: str) -> Way:
    try:
        contexts, delay, sizes = text.split(":")
        return Way(int(contexts), int(delay), tuple(int(size) for size in sizes.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected contexts:delay:sizes, got {text!r}") from None


def add_batching(parser: argparse.ArgumentParser) -> None:
    """The option for ways with batching."""
    parser.add_argument(
        "--batching", action="append", type=parse_way, metavar="CONTEXTS:DELAY:SIZES",
        help="a way to gather requests, may be given again; the best counts for the target",
    )  # fmt: skip


def warm_up(engine: fasttrt.Engine, xs: Arrays, way: Way) -> None:
    """Compile and record every size in every context, so that none is left for the measurement."""
    with ThreadPoolExecutor(2 * way.contexts) as pool:
        batches = [[np.resize(x, (size, *x.shape[1:])) for x in xs] for size in way.sizes]
        for batch in batches or [list(xs)]:
            for _ in range(4):
                engine.infer(*batch)
            for future in [pool.submit(engine.infer, *batch) for _ in range(8 * way.contexts)]:
                future.result()


class Served(NamedTuple):
    """What was measured of one way."""

    way: Way
    rates: dict[int, float]
    """Requests a second, by the number of threads."""
    latencies: dict[int, Stats]


def serve(
    report: Report, network: Network, plan: Any, way: Way, threads: Sequence[int], scale: Scale
) -> Served:
    """So many threads with one sample each, one call after the other."""
    device = report.options.device
    least, most = network.batches
    if way.sizes and (least > 1 or way.sizes[-1] > most):
        raise LeftOutError(f"{network.name} takes batches from {least} to {most}")
    served = Served(way, {}, {})
    case = "dynamic batching" if way.sizes else "threads"
    with open_engine(network, plan, device, **way.options) as engine:
        xs, right = network.inputs(least, min(max(threads), 8 if device == "cpu" else THREADS))
        if device != "cpu":
            warm_up(engine, xs[0], way)
            print(f"warm after {report.elapsed:.1f} s in all")
        check = checker(network, right, case)
        for count in threads:
            warm = 0.1 if device == "cpu" else max(0.2, scale.seconds)
            rates = drive(engine.infer, xs, count, scale, warm, check)
            if not rates.latencies:
                raise LeftOutError(f"no request of {count} threads came to its end in time")
            served.rates[count] = rates.median
            served.latencies[count] = _show(report, network, way, count, rates, case)
    return served


def _show(
    report: Report, network: Network, way: Way, threads: int, rates: Rates, case: str
) -> Stats:
    stats = summarize(rates.latencies)
    print(
        f"{threads} threads, one sample each, {way}, {HOST}: {rates.median:.0f} requests/s "
        f"({min(rates.rounds):.0f} to {max(rates.rounds):.0f}); a request took {stats.median:.0f} "
        f"us (median), {stats.p90:.0f} (90 %), {stats.p95:.0f} (95 %), {stats.p99:.0f} (99 %)",
        flush=True,
    )
    report.row(
        network=network.name, case=case, way=str(way), contexts=way.contexts, delay_us=way.delay,
        sizes=way.sizes, threads=threads, requests_a_second=rates.rounds, us=stats._asdict(),
        transfers="numpy", graph="auto", wait="auto",
    )  # fmt: skip
    return stats


def shares(served: Served, steady: Steady) -> tuple[float, float] | None:
    """Of the largest batch's samples a second, by replay and by infer(numpy)."""
    rate = served.rates.get(THREADS)
    if steady.replay is None or rate is None:
        return None
    each = rate / (1e6 * steady.batch)
    return each * steady.replay, each * steady.infer


def check_target(report: Report, found: Sequence[Served | None], steady: Steady | None) -> None:
    """Print whether the best way with batching reaches the largest batch's rate."""
    best: tuple[float, float, Way] | None = None
    for served in found:
        if served and served.way.sizes and steady and (share := shares(served, steady)):
            text = f"{share[0]:.3f} of batch {steady.batch}'s rate by replay"
            print(f"{served.way}: {text}, {share[1]:.3f} of its by infer(numpy)")
            best = max(best or (0.0, 0.0, served.way), (*share, served.way))
    report.target(
        f"{THREADS} threads, dynamic batching" + (f" ({best[2]})" if best else ""),
        "ResNet-50 fp16: images/s / those of batch 32 by replay"
        + (f" (by infer(numpy): {best[1]:.3f})" if best else ""),
        got=best[0] if best else None, limit=0.85, most=False,
    )  # fmt: skip
