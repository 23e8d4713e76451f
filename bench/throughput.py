"""How many runs a second: `Engine.map`, dynamic batching, and what it costs Python.

python bench/throughput.py --json throughput.json
python bench/throughput.py --batching 3:500:8 --batching 2:200:16   # contexts:delay:sizes
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from closed_loop import Scale, checker
from gil import share_gil
from gpus import OTHERS, counts, device_of, judge, parse_devices
from measure import Contestant, build, open_engine, pinned_copy, replay_times, summarize
from models import LARGEST_BATCH, Array, Arrays, Network
from networks import RESNET, chosen
from options import add_models, arguments
from report import Report
from ways import THREADS, Steady, Way, add_batching, check_target, parse_way, serve

import fasttrt

BATCHES = 6  # that take turns in map()
SHARES = {2: 1.9 / 2, 4: 3.9 / 4, OTHERS: 7.6 / 8}  # of one GPU's rate, for each GPU
CASES = ("map", "batching", "gil")  # the first is always there: the others compare with it


def pcie_times(xs: Sequence[Array], ys: Sequence[Array]) -> tuple[float, float]:
    """Microseconds that inputs and results take over PCIe, each direction alone."""
    import torch

    found = []
    for arrays, up in ((xs, True), (ys, False)):
        hosts = [torch.from_numpy(array).pin_memory() for array in arrays]
        pairs = [(host.cuda(), host) if up else (host, host.cuda()) for host in hosts]
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        times = []
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(30):
                start.record()
                for target, source in pairs:
                    target.copy_(source, non_blocking=True)
                end.record()
                end.synchronize()
                times.append(1000 * start.elapsed_time(end))
        found.append(summarize(times[5:]).median)
    return found[0], found[1]


def time_map(
    engine: fasttrt.Engine, inputs: Sequence[Any], count: int, in_flight: int | None,
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


def measure_pcie(report: Report, engine: fasttrt.Engine, xs: Arrays, right: Arrays) -> float:
    """The longer of both directions; they overlap."""
    dtypes = [spec.dtype for spec in engine.outputs]
    ys = [y.astype(dtype) for y, dtype in zip(right, dtypes, strict=True)]
    up, down = pcie_times(xs, ys)
    report.value(f"H2D of {sum(x.nbytes for x in xs)} bytes by GPU events", up)
    report.value(f"D2H of {sum(y.nbytes for y in ys)} bytes by GPU events", down)
    return max(up, down)


def map_batches(report: Report, make: Callable[[], Network], scale: Scale, target: bool) -> Steady:
    """`Engine.map` over pinned batches, next to what computing or PCIe alone would take."""
    device = report.options.device
    on_gpu = device != "cpu"
    network = make()
    least, most = network.batches
    batch = min(max(LARGEST_BATCH if on_gpu else 2, least), most)
    xs, right = network.inputs(batch, BATCHES if on_gpu else 2)
    plan = build(network, device, opt=batch, largest=batch)
    engine = open_engine(network, plan, device, contexts=2)
    pinned = [tuple(pinned_copy(x, device) for x in inputs) for inputs in xs]
    items = [inputs[0] if len(inputs) == 1 else inputs for inputs in pinned]
    start = time.perf_counter()
    network.check("infer", engine.infer(*xs[0]), right[0])
    print(f"first run of batch {batch}: {time.perf_counter() - start:.2f} s")

    pcie = report.attempt("PCIe", measure_pcie, report, engine, xs[0], right[0]) if on_gpu else 0.0
    ahead: list[int | None] = [None] if report.options.quick else [None, 2, 4, 8]
    replays: list[float] = []
    took: dict[int | None, list[float]] = {n: [] for n in ahead}
    check = checker(network, right, "map")
    for _ in range(scale.rounds):
        if on_gpu:
            replays += replay_times(engine, xs[0], scale.replays)
        for in_flight, times in took.items():
            warm = time_map(engine, items, 2 * len(xs), in_flight, check)
            count = max(2 * len(xs), int(1e6 * scale.seconds / warm))
            times.append(time_map(engine, items, count, in_flight, check))
    replay = summarize(replays).median if replays else None
    if replay is not None:
        report.value(f"compute-only time of batch {batch}, median of graph replays", replay)
    ideal = max(replay or 0, pcie)
    graph = "auto" if replay is None else "yes"
    for in_flight, times in took.items():
        middle = statistics.median(times)
        share = f", {100 * ideal / middle:.1f} % of the possible" if on_gpu else ""
        print(
            f"map(in_flight={in_flight}), transfers yes (pinned), CUDA graph {graph}, wait auto: "
            f"{middle:.1f} us a batch ({min(times):.1f} to {max(times):.1f}), Throughput "
            f"{1e6 / middle:.1f} qps, {1e6 * batch / middle:.0f} samples/s{share}"
        )
        report.row(
            network=network.name, batch=batch, case=f"map(in_flight={in_flight})",
            us_a_batch=times, ideal_us=ideal, transfers="pinned", graph=graph, wait="auto",
        )  # fmt: skip
    if target:
        report.gpu_target(
            "map over pinned batches", f"{network.name} batch {batch}: the possible / its time",
            got=ideal / statistics.median(took[None]), limit=0.97, most=False,
        )  # fmt: skip
    contestants = [
        Contestant("infer(numpy)", engine.infer, xs, graph=graph),
        Contestant("infer(pinned)", engine.infer, pinned, graph=graph),
    ]
    stats = report.compete(network, contestants, right, scale.rounds, scale.replays, batch)
    return Steady(network, plan, engine, batch, replay, stats["infer(numpy)"].median)


def map_on_gpus(report: Report, steady: Steady, devices: Sequence[int], scale: Scale) -> None:
    """`Engine.map` over pinned and numpy batches on one GPU, on two, four and so on, and on all."""
    network = steady.network
    on_gpu = report.options.device != "cpu"
    xs, right = network.inputs(steady.batch, BATCHES if on_gpu else 2)
    check = checker(network, right, "map")
    engines = {}
    for count in counts(devices):
        device = device_of(report, devices[:count])
        engines[count] = open_engine(network, steady.plan, device, contexts=2)
    pinned = [tuple(pinned_copy(x, report.options.device) for x in inputs) for inputs in xs]
    for kind, sets in (("pinned", pinned), ("numpy", xs)):
        items = [inputs[0] if len(inputs) == 1 else inputs for inputs in sets]
        rates = {count: [0.0] * scale.rounds for count in engines}
        for engine in engines.values():
            for _ in range(3):
                time_map(engine, items, 8 * len(xs), None, check)
        for i in range(scale.rounds):
            for count, engine in engines.items():
                warm = time_map(engine, items, 2 * count * len(xs), None, check)
                each = time_map(engine, items, max(8, int(1e6 * scale.seconds / warm)), None, check)
                rates[count][i] = 1e6 * steady.batch / each
        show_gpus(report, steady, kind, rates)
    for engine in engines.values():
        engine.close()


def show_gpus(report: Report, steady: Steady, kind: str, rates: dict[int, list[float]]) -> None:
    """Rates by the number of GPUs, and what they are of one GPU's."""
    name = steady.network.name
    one = statistics.median(rates[1])
    for count, found in rates.items():
        middle = statistics.median(found)
        ratio = middle / one
        print(
            f"map over {kind} batches of {steady.batch}, {count} GPUs: {middle:.0f} samples/s, "
            f"{ratio:.2f} of one"
        )
        report.row(
            network=name, case=f"map, {kind}, GPUs", gpus=count, samples_a_second=found
        )  # fmt: skip
        report.value(f"map, {kind}: {count} GPUs / one", ratio, "x")
        if kind == "pinned":
            judge(report, "map over pinned batches", f"{name}: rate", count, ratio, SHARES)


def main() -> int:
    parser = arguments(__doc__, budget=57)
    parser.add_argument(
        "--devices", type=parse_devices, default=[0], metavar="0,1", help="GPUs of a case of map"
    )
    add_models(parser, "resnet50")
    add_batching(parser)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    options = parser.parse_args()
    cases = options.cases
    given: list[Way] | None = options.batching
    # Each size takes seconds to compile in TensorRT-RTX. concurrency.py tries more ways.
    ways = given or [parse_way(way) for way in ("default", "3:500:8", "3:300:10")]
    report = Report("throughput", options)
    on_gpu = options.device != "cpu"
    scale = Scale(3, 0.2, 50) if options.quick else Scale(5, 0.3, 100)
    if not on_gpu:
        scale = Scale(2, 0.1, 2)

    steady: dict[str, Steady] = {}
    for name, make in chosen(options).items():
        title = f"map over pinned batches, {name}"
        if done := report.run(title, map_batches, report, make, scale, name == RESNET):
            steady[name] = done
    base = steady.get(RESNET)
    for name, done in steady.items() if len(options.devices) > 1 else ():
        report.run(f"map, GPUs, {name}", map_on_gpus, report, done, options.devices, scale)
    found = []

    def batch(ways: Sequence[Way], needs: float) -> None:
        for way in ways:
            if base is None or "batching" not in cases:
                return
            case = (report, base.network, base.plan, way, (THREADS if on_gpu else 2,), scale)
            found.append(report.run(f"dynamic batching, {way}", serve, *case, needs=needs))

    first = len(given or ways[:1])
    batch(ways[:first], needs=0)
    if "gil" in cases:
        report.run("GIL", share_gil, report, list(steady.values()))
    batch(ways[first:], needs=12)
    if RESNET in steady and "batching" in cases:
        check_target(report, found, base)
    for done in steady.values():
        done.engine.close()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
