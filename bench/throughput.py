"""How many runs a second: `Engine.map`, dynamic batching, many threads, and what it costs Python.

python bench/throughput.py --json throughput.json
python bench/throughput.py --batching 2:500:16,32 --batching 1:2000:32   # contexts:delay:sizes
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import models
import numpy as np
from measure import Contestant, build, open_engine, pinned_copy, replay_times, summarize
from models import LARGEST_BATCH, Array, Network
from report import Report, arguments

import fasttrt

BATCHES = 6  # that take turns in map()
THREADS = 32
HOST = "transfers yes (numpy), CUDA graph auto, wait auto"


class Scale(NamedTuple):
    """How long to measure."""

    rounds: int
    seconds: float  # of a round
    replays: int


class Steady(NamedTuple):
    """ResNet-50 with an engine that has run at batch 32, and what that takes."""

    network: Network
    plan: Any
    engine: fasttrt.Engine
    replay: float | None  # us; None without a GPU
    infer: float  # us


class Way(NamedTuple):
    """Of gathering requests."""

    contexts: int
    delay: int  # us
    sizes: tuple[int, ...]

    def __str__(self) -> str:
        """As the command line has it, in words."""
        sizes = ", ".join(map(str, self.sizes))
        return f"contexts={self.contexts}, max_delay_us={self.delay}, sizes=({sizes})"

    @property
    def options(self) -> dict[str, Any]:
        """For `fasttrt.Engine`."""
        batching = fasttrt.Batching(self.sizes[-1], self.delay, self.sizes)
        return {"contexts": self.contexts, "batching": batching}


def parse_way(text: str) -> Way:
    try:
        contexts, delay, sizes = text.split(":")
        return Way(int(contexts), int(delay), tuple(int(size) for size in sizes.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected contexts:delay:sizes, got {text!r}") from None


def pcie_times(x: Array, y: Array) -> tuple[float, float]:
    """Microseconds that a batch and its result take over PCIe, each alone."""
    import torch

    found = []
    for array, up in ((x, True), (y, False)):
        host = torch.from_numpy(array).pin_memory()
        device = host.cuda()
        source, target = (host, device) if up else (device, host)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        times = []
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(30):
                start.record()
                target.copy_(source, non_blocking=True)
                end.record()
                end.synchronize()
                times.append(1000 * start.elapsed_time(end))
        found.append(summarize(times[5:]).median)
    return found[0], found[1]


def time_map(
    engine: fasttrt.Engine, inputs: Sequence[Array], count: int, in_flight: int | None,
    check: Callable[[Any, int], Any],
) -> float:  # fmt: skip
    """Microseconds of wall-clock time for each of so many items; the last answers are checked."""
    start = time.perf_counter()
    items = itertools.islice(itertools.cycle(range(len(inputs))), count)
    results = engine.map((inputs[i] for i in items), in_flight=in_flight)
    last: deque[Any] = deque(maxlen=len(inputs))
    got = 0
    for y in results:
        last.append(y)
        got += 1
    took = time.perf_counter() - start
    if got != count:
        raise RuntimeError(f"{got} results of {count} items")
    for back, y in enumerate(reversed(last)):
        check(y, (count - 1 - back) % len(inputs))
    return 1e6 * took / count


def map_batches(report: Report, scale: Scale) -> Steady:
    """`Engine.map` over pinned batches, next to what computing or PCIe alone would take."""
    device = report.options.device
    on_gpu = device != "cpu"
    network = models.resnet50(device)
    xs, right = network.inputs(LARGEST_BATCH if on_gpu else 2, BATCHES if on_gpu else 2)
    batch = len(xs[0])
    plan = build(network, device, opt=LARGEST_BATCH)
    engine = open_engine(network, plan, device, contexts=2)
    pinned = [pinned_copy(x, device) for x in xs]
    start = time.perf_counter()
    network.check("infer", engine.infer(xs[0]), right[0])
    print(f"first run of batch {batch}: {time.perf_counter() - start:.2f} s")

    up = down = 0.0
    if on_gpu:
        up, down = pcie_times(xs[0], right[0].astype(xs[0].dtype))
        report.value(f"H2D of {xs[0].nbytes} bytes by GPU events", up)
        report.value(f"D2H of {right[0].size * xs[0].itemsize} bytes by GPU events", down)
    ahead: list[int | None] = [None] if report.options.quick else [None, 2, 4, 8]
    replays: list[float] = []
    took: dict[int | None, list[float]] = {n: [] for n in ahead}
    check = checker(network, right, "map")
    for _ in range(scale.rounds):
        if on_gpu:
            replays += replay_times(engine, xs[0], scale.replays)
        for in_flight, times in took.items():
            warm = time_map(engine, pinned, 2 * len(xs), in_flight, check)
            count = max(2 * len(xs), int(1e6 * scale.seconds / warm))
            times.append(time_map(engine, pinned, count, in_flight, check))
    replay = summarize(replays).median if replays else None
    if replay is not None:
        report.value(f"compute-only time of batch {batch}, median of graph replays", replay)
    ideal = max(replay or 0, up, down)
    graph = "auto" if replay is None else "yes"
    for in_flight, times in took.items():
        middle = statistics.median(times)
        share = f", {100 * ideal / middle:.1f} % of the possible" if on_gpu else ""
        print(
            f"map(in_flight={in_flight}), transfers yes (pinned), CUDA graph {graph}, wait auto: "
            f"{middle:.1f} us a batch ({min(times):.1f} to {max(times):.1f}), Throughput "
            f"{1e6 / middle:.1f} qps, {1e6 * batch / middle:.0f} images/s{share}"
        )
        report.row(
            network=network.name, batch=batch, case=f"map(in_flight={in_flight})",
            us_a_batch=times, ideal_us=ideal, transfers="pinned", graph=graph, wait="auto",
        )  # fmt: skip
    report.target(
        "map over pinned batches", f"{network.name} batch {batch}: the possible / its time",
        got=ideal / statistics.median(took[None]) if on_gpu else None, limit=0.97, most=False,
    )  # fmt: skip
    plain = [(x,) for x in xs]
    contestants = [
        Contestant("infer(numpy)", engine.infer, plain, graph=graph),
        Contestant("infer(pinned)", engine.infer, [(x,) for x in pinned], graph=graph),
    ]
    stats = report.compete(network, contestants, right, scale.rounds, scale.replays, batch)
    return Steady(network, plan, engine, replay, stats["infer(numpy)"].median)


class Rates(NamedTuple):
    """Requests a second in each of the rounds, and how long a request took in us."""

    rounds: list[float]
    latencies: list[float]

    @property
    def median(self) -> float:
        """Requests a second."""
        return statistics.median(self.rounds)


def drive(
    call: Callable[[Array], Any], xs: Sequence[Array], threads: int, scale: Scale, warm: float,
    check: Callable[[Any, int], Any],
) -> Rates:  # fmt: skip
    """Call from many threads, each with an input of its own, one call after the other.

    Args:
        call: a run.
        xs: the inputs; threads share them if there are fewer.
        threads: how many.
        scale: of the measurement.
        warm: seconds before it.
        check: raises if an answer to the input of that index is wrong; before and after.
    """
    running = [True]
    times: list[list[float]] = [[] for _ in range(threads)]
    gate = threading.Barrier(threads + 1)

    def work(index: int) -> None:
        try:
            chosen = index % len(xs)
            x, mine, clock = xs[chosen], times[index], time.perf_counter
            for _ in range(3):
                check(call(x), chosen)
            gate.wait(120)
            y = None
            while running[0]:
                start = clock()
                y = call(x)
                mine.append(clock() - start)
            if y is not None:
                check(y, chosen)
        except BaseException:
            gate.abort()
            raise

    pool = ThreadPoolExecutor(threads)
    futures = [pool.submit(work, i) for i in range(threads)]
    rounds, begun = [], [0] * threads
    try:
        gate.wait(120)
        time.sleep(warm)
        begun = [len(mine) for mine in times]
        for _ in range(scale.rounds):
            before, start = sum(map(len, times)), time.perf_counter()
            time.sleep(scale.seconds)
            done, end = sum(map(len, times)), time.perf_counter()
            rounds.append((done - before) / (end - start))
    except threading.BrokenBarrierError:
        pass  # the futures tell why
    finally:
        running[0] = False
        pool.shutdown()
    problems = [problem for future in futures if (problem := future.exception()) is not None]
    if problems:  # the others only found the barrier broken
        causes = [p for p in problems if not isinstance(p, threading.BrokenBarrierError)]
        raise (causes or problems)[0]
    ends = [len(mine) for mine in times]
    latencies = [
        1e6 * t
        for mine, first, end in zip(times, begun, ends, strict=True)
        for t in mine[first:end]
    ]
    return Rates(rounds, latencies)


def checker(network: Network, right: Sequence[Array], who: str) -> Callable[[Any, int], Any]:
    """Raises if the answer to the input of that index is wrong."""
    return lambda y, index: network.check(who, y, right[index])


def warm_up(engine: fasttrt.Engine, x: Array, sizes: Sequence[int], contexts: int) -> None:
    """Compile and record every size in every context, so that none is left for the measurement."""
    with ThreadPoolExecutor(2 * contexts) as pool:
        for size in sizes:
            batch = np.ascontiguousarray(np.resize(x, (size, *x.shape[1:])))
            for _ in range(4):
                engine.infer(batch)
            list(pool.map(engine.infer, [batch] * 8 * contexts))


def batch_requests(
    report: Report, steady: Steady, scale: Scale, way: Way
) -> tuple[Way, float, float] | None:
    """32 threads with one sample each; their samples a second, as shares of batch 32's."""
    network, device = steady.network, report.options.device
    engine = open_engine(network, steady.plan, device, **way.options)
    on_gpu = device != "cpu"
    xs, right = network.inputs(1, THREADS if on_gpu else 2)
    with engine:
        if on_gpu:
            warm_up(engine, xs[0], way.sizes, way.contexts)
            print(f"warm after {report.elapsed:.1f} s in all")
        rates = drive(
            engine.infer, xs, THREADS if on_gpu else 2, scale, 0.7 if on_gpu else 0.0,
            checker(network, right, "dynamic batching"),
        )  # fmt: skip
    stats = summarize(rates.latencies)
    print(
        f"{THREADS} threads, one image each, {way}, {HOST}: "
        f"{rates.median:.0f} images/s ({min(rates.rounds):.0f} to {max(rates.rounds):.0f}); a "
        f"request took {stats.median:.0f} us (median), {stats.p99:.0f} us (99 %)"
    )
    report.row(
        network=network.name, case="dynamic batching", way=str(way), threads=THREADS,
        images_a_second=rates.rounds, us=stats._asdict(), transfers="numpy",
    )  # fmt: skip
    if steady.replay is None:
        return None
    of_replay = rates.median * steady.replay / (1e6 * LARGEST_BATCH)
    of_infer = rates.median * steady.infer / (1e6 * LARGEST_BATCH)
    print(f"= {of_replay:.3f} of batch 32's by replay, {of_infer:.3f} of its by infer(numpy)")
    return way, of_replay, of_infer


def sweep_threads(report: Report, scale: Scale) -> None:
    """Requests a second of the MLP at batch 1, for so many threads and contexts."""
    device = report.options.device
    on_gpu = device != "cpu"
    network = models.mlp()
    xs, right = network.inputs(1, 8)
    plan = build(network, device)
    brief = Scale(1, scale.seconds / 2, 0)
    counts = (1, 2, 4, 8, 16) if on_gpu and not report.options.quick else (1, 4)
    lines = []

    def line(title: str, row: dict[str, Any], options: dict[str, Any], sizes: Any) -> None:
        with open_engine(network, plan, device, **options) as engine:
            warm_up(engine, xs[0], sizes, row["contexts"])
            found = []
            for threads in counts:
                check = checker(network, right, title)
                rates = drive(engine.infer, xs, threads, brief, 0.1, check)
                found.append(rates.median)
                report.row(
                    network=network.name, threads=threads, requests_a_second=rates.rounds,
                    us=summarize(rates.latencies)._asdict(), transfers="numpy", **row,
                )  # fmt: skip
        lines.append(f"{title:44} " + " ".join(f"{rate:9.0f}" for rate in found))

    for contexts in (1, 2, 4, 8) if on_gpu and not report.options.quick else (1, 2):
        title = f"contexts={contexts}"
        row = {"case": "threads", "contexts": contexts}
        report.attempt(title, line, title, row, {"contexts": contexts}, (1,))
    if on_gpu:
        way = Way(2, 0, (8, 32))
        row = {"case": "threads, batching", "way": str(way), "contexts": way.contexts}
        report.attempt("MLP, batching", line, str(way), row, way.options, way.sizes)
    head = " ".join(f"{n:9}" for n in counts)
    print(f"Requests/s of the MLP at batch 1; {HOST}")
    print(f"{'threads':44} {head}\n" + "\n".join(lines))


def count_loops(seconds: float) -> float:
    """How often a loop of pure Python comes round in a second."""
    clock = time.perf_counter
    loops, start = 0, clock()
    end = start + seconds
    while clock() < end:
        for _ in range(100):
            loops += 1
    return loops / (clock() - start)


def hold_gil(
    report: Report, name: str, call: Callable[[Array], Any], x: Array, scale: Scale
) -> float:
    """The speed that a thread of pure Python keeps while another one infers."""
    wanted, running, runs, problems = threading.Event(), [True], [0], []

    def work() -> None:
        try:
            while True:
                wanted.wait()
                if not running[0]:
                    return
                call(x)
                runs[0] += 1
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    alone, beside, rates, free = [], [], [], []
    try:
        for _ in range(scale.rounds):
            wanted.clear()
            time.sleep(0.05)  # the last run ends
            alone.append(count_loops(scale.seconds / 2))
            wanted.set()
            before, start = runs[0], time.perf_counter()
            time.sleep(scale.seconds / 2)
            middle, then = runs[0], time.perf_counter()
            beside.append(count_loops(scale.seconds / 2))
            free.append((middle - before) / (then - start))
            rates.append((runs[0] - middle) / (time.perf_counter() - then))
    finally:
        running[0] = False
        wanted.set()
        thread.join(60)
    if problems:
        raise problems[0]
    kept_speed = statistics.median(beside) / statistics.median(alone)
    print(
        f"{name}, {HOST}: the loop keeps {100 * kept_speed:.1f} % of "
        f"{statistics.median(alone):.3g}/s; "
        f"meanwhile {statistics.median(rates):.0f} runs/s, else {statistics.median(free):.0f}"
    )
    report.row(
        case="GIL", network=name, alone=alone, beside=beside, runs_a_second_beside=rates,
        runs_a_second_alone=free,
    )  # fmt: skip
    return kept_speed


def share_gil(report: Report, steady: Steady | None, scale: Scale) -> None:
    """With short runs and with long ones."""
    device = report.options.device
    mlp = models.mlp()
    kept = []
    x = mlp.draw(1)
    with open_engine(mlp, build(mlp, device), device) as engine:
        for _ in range(10):
            engine.infer(x)
        kept.append(hold_gil(report, f"{mlp.name}, batch 1", engine.infer, x, scale))
    if steady is not None:
        x = steady.network.draw(LARGEST_BATCH if device != "cpu" else 2)
        name = f"{steady.network.name}, batch {len(x)}"
        kept.append(hold_gil(report, name, steady.engine.infer, x, scale))
    report.target(
        "GIL", "speed that a thread of pure Python keeps, the least of the above",
        got=min(kept), limit=0.9, most=False,
    )  # fmt: skip


def main() -> int:
    parser = arguments(__doc__, budget=57)
    parser.add_argument(
        "--batching", action="append", type=parse_way, metavar="CONTEXTS:DELAY:SIZES",
        help="a way to gather requests, may be given again; the best counts for the target",
    )  # fmt: skip
    options = parser.parse_args()
    given = options.batching
    # Each size takes seconds to compile in TensorRT-RTX.
    options.batching = given or [parse_way("2:1000:16,32"), parse_way("1:2000:16,32")]
    report = Report("throughput", options)
    on_gpu = options.device != "cpu"
    scale = Scale(3, 0.2, 50) if options.quick else Scale(5, 0.3, 100)
    if not on_gpu:
        scale = Scale(2, 0.1, 2)

    steady = None
    if on_gpu or importlib.util.find_spec("torchvision") is not None:
        steady = report.run("map over pinned batches", map_batches, report, scale)
    else:
        print("\n## ResNet-50: skipped, as torchvision is missing")
    found = []

    def batch(ways: Sequence[Way], needs: float) -> None:
        for way in ways if steady is not None else ():
            name = f"dynamic batching, {way}"
            found.append(report.run(name, batch_requests, report, steady, scale, way, needs=needs))

    needed = len(given or options.batching[:1])
    batch(options.batching[:needed], needs=0)
    report.run("GIL", share_gil, report, steady, scale)
    report.run("threads and contexts", sweep_threads, report, scale)
    batch(options.batching[needed:], needs=12)
    best = max((f for f in found if f), key=lambda f: f[1], default=None)
    report.target(
        f"{THREADS} threads, dynamic batching" + (f" ({best[0]})" if best else ""),
        "ResNet-50 fp16: images/s / those of batch 32 by replay"
        + (f" (by infer(numpy): {best[2]:.3f})" if best else ""),
        got=best[1] if best else None, limit=0.85, most=False,
    )  # fmt: skip
    if steady is not None:
        steady.engine.close()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
