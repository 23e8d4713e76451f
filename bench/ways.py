"""Ways to serve requests: so many contexts, with dynamic batching or without."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from closed_loop import Check, Rates, Scale, checker, drive
from measure import LeftOutError, Stats, open_engine, summarize
from models import LARGEST_BATCH, Arrays, Network
from report import Report

import fasttrt

HOST = "transfers yes (numpy), CUDA graph auto, wait auto"
THREADS = 32  # of the target
LONGEST_WARM_UP = 25.0  # seconds
# Kernels take longer than this to compile, requests do not (us); on a crowded machine a few may.
STALL, LONG_STALL = 2e5, 1e6


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

    contexts: int | None = None
    """None: as many as an engine has by default."""
    batching: fasttrt.Batching | None = None
    """None: requests are not gathered."""

    def __str__(self) -> str:
        """As the command line has it, in words."""
        parts = [] if self.contexts is None else [f"contexts={self.contexts}"]
        if self.batching is None:
            parts.append("no batching")
        elif self.batching == fasttrt.Batching(self.batching.max_size):
            parts.append(f"Batching({self.batching.max_size})")
        else:
            sizes = ", ".join(map(str, self.sizes))
            parts.append(f"max_delay_us={self.batching.max_delay_us}, sizes=({sizes})")
        return ", ".join(parts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of batches; none if requests are not gathered."""
        return self.batching.batch_sizes if self.batching else ()

    @property
    def options(self) -> dict[str, Any]:
        """For `fasttrt.Engine`."""
        options: dict[str, Any] = {} if self.contexts is None else {"contexts": self.contexts}
        return options | ({"batching": self.batching} if self.batching else {})


def default_way(largest: int = LARGEST_BATCH) -> Way:
    """Gather up to the largest batch, all else as it comes."""
    return Way(None, fasttrt.Batching(largest))


def parse_way(text: str) -> Way:
    """Read ``default``, or ``contexts:delay:sizes``."""
    if text == "default":
        return default_way()
    try:
        contexts, delay, listed = text.split(":")
        sizes = tuple(int(size) for size in listed.split(","))
        return Way(int(contexts), fasttrt.Batching(sizes[-1], int(delay), sizes))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected default or contexts:delay:sizes, got {text!r}"
        ) from None


def add_batching(parser: argparse.ArgumentParser) -> None:
    """The option for ways with batching."""
    parser.add_argument(
        "--batching", action="append", type=parse_way, metavar="CONTEXTS:DELAY:SIZES",
        help='a way to gather requests, or "default"; may be given again; the best counts for the '
        "target",
    )  # fmt: skip


def warm_up(report: Report, engine: fasttrt.Engine, xs: Sequence[Arrays], check: Check) -> None:
    """Load the engine until no request waits for kernels any more, from twice as many threads."""
    start, before = report.elapsed, 0.0
    while report.elapsed - start < LONGEST_WARM_UP:
        found = drive(engine.infer, xs, 2 * len(xs), Scale(1, 0.5, 0), 0, check)
        slowest = max(found.latencies, default=math.inf)
        is_steady = 0.9 * before < found.median < 1.1 * before
        if slowest < STALL or (is_steady and slowest < LONG_STALL):
            break
        before = found.median
    print(f"warm after {report.elapsed - start:.1f} s")


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
        check = checker(network, right, case)
        if device != "cpu":
            warm_up(report, engine, xs, check)
        for count in threads:
            warm = 0.1 if device == "cpu" else max(0.2, scale.seconds)
            rates = drive(engine.infer, xs, count, scale, warm, check)
            if not rates.latencies:
                raise LeftOutError(f"no request of {count} threads came to its end in time")
            served.rates[count] = rates.median
            served.latencies[count] = show(report, network, case, str(way), count, rates)
    return served


def show(
    report: Report, network: Network, case: str, way: str, clients: int, rates: Rates,
    kind: str = "threads", settings: str = HOST,
) -> Stats:  # fmt: skip
    """Print and keep what so many clients got.

    Args:
        report: for the JSON file.
        network: what ran.
        case: what the clients did.
        way: how the requests were served.
        clients: their number.
        rates: what was measured.
        kind: of clients.
        settings: of the calls.
    """
    stats = summarize(rates.latencies)
    print(
        f"{clients} {kind}, one sample each, {way}, {settings}: {rates.median:.0f} requests/s "
        f"({min(rates.rounds):.0f} to {max(rates.rounds):.0f}); a request took {stats.median:.0f} "
        f"us (median), {stats.p90:.0f} (90 %), {stats.p95:.0f} (95 %), {stats.p99:.0f} (99 %)",
        flush=True,
    )
    report.row(
        network=network.name, case=case, way=way, kind=kind, clients=clients,
        requests_a_second=rates.rounds, us=stats._asdict(), settings=settings,
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
            if best is None or share[0] > best[0]:
                best = (*share, served.way)
    report.target(
        f"{THREADS} threads, dynamic batching" + (f" ({best[2]})" if best else ""),
        "ResNet-50 fp16: images/s / those of batch 32 by replay"
        + (f" (by infer(numpy): {best[1]:.3f})" if best else ""),
        got=best[0] if best else None, limit=0.9, most=False,
    )  # fmt: skip
