"""Many ways to gather requests, by the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from closed_loop import Scale
from measure import Contestant, build, open_engine, replay_times, summarize
from models import LARGEST_BATCH, Network
from networks import RESNET
from plots import draw
from report import Report
from ways import HOST, Served, Steady, Way, check_target, parse_way, serve

THREADS = (1, 2, 4, 8, 16, 32)
CONTEXTS = (1, 2, 4)
# The promising ones first, as --budget may cut the rest. Of 32 threads three batches of 8 are on
# the GPU while the fourth gathers; with larger ones the GPU waits for the threads that come back.
WAYS = (
    "default", "3:500:8", "3:300:10", "4:300:6", "2:200:16", "3:200:16", "2:200:8", "3:200:8",
    "1:200:32", "2:100:16", "2:300:16", "4:200:8", "2:200:8,16", "2:0:8,16", "1:1000:32",
    "2:200:16,32", "2:1000:16,32",
)  # fmt: skip


def largest_batch(report: Report, network: Network) -> Steady:
    """What the largest batch takes: by replay, and by infer(numpy)."""
    device = report.options.device
    least, most = network.batches
    batch = min(max(LARGEST_BATCH if device != "cpu" else 2, least), most)
    plan = build(network, device, opt=batch, largest=max(batch, min(LARGEST_BATCH, most)))
    engine = open_engine(network, plan, device)
    xs, right = network.inputs(batch, 2)
    contestant = Contestant("infer(numpy)", engine.infer, xs)
    stats = report.compete(network, [contestant], right, 3, 50, batch)["infer(numpy)"]
    replay = None
    if device != "cpu":
        times = report.attempt("replay", replay_times, engine, xs[0], 100)
        replay = summarize(times).median if times else None
    if replay is not None:
        report.value(f"compute-only time of batch {batch}, median of graph replays", replay)
        rate = 1e6 * batch / replay
        report.value(f"{network.name}, batch {batch}: samples/s by replay", rate, "a second")
    engine.close()
    return Steady(network, plan, engine, batch, replay, stats.median)


def show(network: Network, found: Sequence[Served], threads: Sequence[int]) -> None:
    """Two tables, a line for each of the ways."""

    def latencies(served: Served, count: int) -> str:
        stats = served.latencies.get(count)
        return f"{stats.median:.0f}/{stats.p99:.0f}" if stats else "-"

    def rate(served: Served, count: int) -> str:
        return f"{served.rates[count]:.0f}" if count in served.rates else "-"

    tables: list[tuple[str, Callable[[Served, int], str]]] = [
        ("requests/s", rate),
        ("latency of a request in us, median/99 %", latencies),
    ]
    for title, cell in tables:
        print(f"{network.name}, one sample a request: {title}; {HOST}")
        print(f"{'threads':46} " + " ".join(f"{count:>13}" for count in threads))
        for served in found:
            cells = " ".join(f"{cell(served, count):>13}" for count in threads)
            print(f"{served.way!s:46} {cells}")


def plot(report: Report, network: Network, found: Sequence[Served]) -> None:
    """Rates by the number of threads."""
    if report.options.plot is None:
        return
    path = report.options.plot / f"throughput-{network.slug}.png"
    lines: dict[str, Any] = {str(s.way): list(s.rates.items()) for s in found if s.rates}
    labels = (f"{network.name} ({report.gpu}), one sample a request", "threads", "requests/s")
    report.attempt("plot", draw, path, lines, *labels)


def sweep(report: Report, name: str, network: Network) -> None:
    """Measure ways with batching and without, as many as ``--budget`` allows.

    Args:
        report: for the tables.
        name: the network's short name.
        network: what runs.
    """
    options = report.options
    on_gpu = options.device != "cpu"
    ways = options.batching or [parse_way(way) for way in WAYS]
    contexts: tuple[int, ...] = CONTEXTS
    threads: tuple[int, ...] = THREADS
    if options.quick or not on_gpu:
        contexts, threads = CONTEXTS[:2], (THREADS[0], THREADS[3], THREADS[-1])
        ways = options.batching or ways[:6]
    scale = Scale(3, 0.15, 0)
    if not on_gpu:
        threads, scale = (1, 2), Scale(2, 0.1, 0)
    steady = largest_batch(report, network)
    found: list[Served] = []
    slowest = 0.0
    plain = [Way(count) for count in contexts]
    for way in (plain[0], *ways[:4], *plain[1:], *ways[4:]):
        start = report.elapsed
        given = way in (options.batching or ())
        if not given and start + slowest > options.budget:
            report.leave_out(str(way), f"--budget {options.budget:.0f}")
        elif served := report.attempt(
            str(way), serve, report, steady.network, steady.plan, way, threads, scale
        ):
            found.append(served)
            slowest = max(slowest, report.elapsed - start)
    if found:
        found.sort(key=lambda served: -max(served.rates.values(), default=0))
        print("\n## All, the best first")
        show(steady.network, found, threads)
        plot(report, steady.network, found)
    if name == RESNET:
        check_target(report, found, steady)
