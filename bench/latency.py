"""How long one run takes, next to the floor (a CUDA graph's replay) and the vendor's bindings.

python bench/latency.py --json latency.json
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import models
import vendor
from measure import Contestant, Stats, build, open_engine, pinned_copy, replay_times, summarize
from models import Array, Network
from report import Report, arguments

import fasttrt

SETS = 4  # of inputs, which take turns
FLOOR = "floor: a CUDA graph's replay, from C++"
CUDA = "infer(cuda, out=cuda)"
NUMPY = "infer(numpy)"


class Subject:
    """A network with its plan, its inputs and answers, and an engine as it comes."""

    def __init__(self, report: Report, network: Network) -> None:
        """Build and load."""
        self.network = network
        self.device = report.options.device
        self.on_gpu = self.device != "cpu"
        self.xs, self.right = network.inputs(1, SETS)
        self.plan = build(network, self.device, largest=1)
        self.engine = self.open()
        times = self.on_gpu and report.attempt(FLOOR, replay_times, self.engine, self.xs[0], 10)
        self.graph = "yes" if times else "auto" if self.on_gpu else "no"

    def open(self, **options: Any) -> fasttrt.Engine:
        """Another engine for the plan."""
        return open_engine(self.network, self.plan, self.device, **options)

    @property
    def each(self) -> list[tuple[Array]]:
        """The inputs as arguments."""
        return [(x,) for x in self.xs]


def on_host(subject: Subject, engine: fasttrt.Engine) -> list[Contestant]:
    """With numpy arrays, page-locked or not."""
    infer = engine.infer
    pinned = [pinned_copy(x, subject.device) for x in subject.xs]
    results = list(zip(subject.xs, _empty(subject, pinned=False), strict=True))
    pinned_results = list(zip(pinned, _empty(subject, pinned=True), strict=True))

    def into(x: Array, target: Array) -> None:
        infer(x, out=target)

    graph: Any = {"graph": subject.graph}
    return [
        Contestant(NUMPY, infer, subject.each, **graph),
        Contestant("infer(numpy, out=numpy)", into, results, _second, **graph),
        Contestant("infer(pinned)", infer, [(x,) for x in pinned], **graph),
        Contestant("infer(pinned, out=pinned)", into, pinned_results, _second, **graph),
    ]


def _empty(subject: Subject, pinned: bool) -> list[Array]:
    """A target for each of the results."""
    dtype = subject.xs[0].dtype
    zeros = [right.astype(dtype) * 0 for right in subject.right]
    return [pinned_copy(zero, subject.device) for zero in zeros] if pinned else zeros


def _second(result: Any, given: tuple[Any, ...]) -> Any:
    """The second argument's values, once."""
    answer = given[1].copy()
    given[1][...] = 0
    return answer


def on_torch(subject: Subject, engine: fasttrt.Engine) -> list[Contestant]:
    """With torch's tensors on the GPU, on torch's default stream and on another one."""
    import torch

    infer, inputs = engine.infer, [torch.from_numpy(x).cuda() for x in subject.xs]
    pairs = [
        (x, torch.zeros(right.shape, dtype=x.dtype, device="cuda"))
        for x, right in zip(inputs, subject.right, strict=True)
    ]
    side = torch.cuda.Stream()
    torch.cuda.synchronize()

    def into(wait: Callable[[], None]) -> Callable[[Any, Any], None]:
        def call(x: Any, y: Any) -> None:
            infer(x, out=y)
            wait()

        return call

    wait = torch.cuda.current_stream().synchronize

    def fresh(x: Any) -> Any:
        y = infer(x)
        wait()
        return y

    def second(result: Any, given: tuple[Any, ...]) -> Array:
        answer: Array = given[1].cpu().numpy().copy()
        given[1].zero_()  # so that none is taken for the next one
        torch.cuda.synchronize()
        return answer

    common: Any = {"transfers": "none", "graph": subject.graph, "wait": "CUDA's"}
    return [
        Contestant(CUDA, into(wait), pairs, second, **common),
        Contestant(
            f"{CUDA}, in a torch.cuda.Stream", into(side.synchronize), pairs, second,
            around=partial(torch.cuda.stream, side), **common,
        ),
        Contestant(
            "infer(cuda)", fresh, [(x,) for x in inputs],
            lambda result, given: result.cpu().numpy(), **common,
        ),
    ]  # fmt: skip


def on_cupy(subject: Subject, engine: fasttrt.Engine) -> list[Contestant]:
    """With CuPy's arrays on the GPU."""
    try:
        import cupy
    except ImportError as problem:
        print(f"no CuPy: {problem}")
        return []
    infer = engine.infer
    pairs = [
        (cupy.asarray(x), cupy.zeros(right.shape, x.dtype))
        for x, right in zip(subject.xs, subject.right, strict=True)
    ]
    wait = cupy.cuda.get_current_stream().synchronize
    wait()

    def into(x: Any, y: Any) -> None:
        infer(x, out=y)
        wait()

    def second(result: Any, given: tuple[Any, ...]) -> Array:
        answer: Array = cupy.asnumpy(given[1])
        given[1].fill(0)
        wait()
        return answer

    common: Any = {"transfers": "none", "graph": subject.graph, "wait": "CUDA's"}
    return [Contestant("infer(cupy, out=cupy)", into, pairs, second, **common)]


def compare(
    report: Report, make: Callable[[], Network], rounds: int, count: int
) -> tuple[Subject, dict[str, Stats]]:
    """The floor, fasttrt and the bindings, in turns."""
    network = make()
    subject = Subject(report, network)
    contestants = []
    if subject.on_gpu:
        replays = partial(replay_times, subject.engine, subject.xs[0])
        contestants.append(
            Contestant(FLOOR, replays, subject.each, transfers="none", graph="yes", replays=replays)
        )
    contestants += report.attempt("numpy", on_host, subject, subject.engine) or []
    if subject.on_gpu:
        contestants += report.attempt("torch", on_torch, subject, subject.engine) or []
        bindings = report.attempt("bindings", vendor.Bindings, subject.plan, subject.xs[0])
        if bindings:
            print(f"bindings: {bindings.version}")
            contestants += report.attempt("bindings", bindings.contestants, subject.xs) or []
            report.attempt("phases", phases, report, subject, bindings, rounds, count // 4)
    stats = report.compete(network, contestants, subject.right, rounds, count)
    return subject, stats


def check_targets(
    report: Report, network: str, stats: dict[str, Stats],
    slack: dict[str, tuple[float, bool]], speedup: float,
) -> None:  # fmt: skip
    """Print what was met.

    Args:
        report: for the targets.
        network: its name.
        stats: what was measured.
        slack: how far above the floor a contestant may be, in us, or as a factor if True.
        speedup: of infer(numpy) over the bindings.
    """
    medians = {name: s.median for name, s in stats.items()}
    floor = medians.get(FLOOR)
    for name, (limit, is_factor) in slack.items():
        got, median = None, medians.get(name)
        if floor is not None and median is not None:
            got = median / floor if is_factor else median - floor
        how = "/" if is_factor else "-"
        unit = "" if is_factor else " (us)"
        report.target(name, f"{network}: median {how} floor{unit}", got=got, limit=limit, most=True)
    base = vendor.baseline(medians)
    own = medians.get(NUMPY)
    got = base[1] / own if base is not None and own is not None else None
    text = f"{network}: median of '{base[0] if base else 'bindings, pinned'}' / its own"
    report.target(NUMPY, text, got=got, limit=speedup, most=False)


def phases(
    report: Report, subject: Subject, bindings: vendor.Bindings, rounds: int, count: int
) -> None:
    """A run's parts by GPU events, and the host's time to queue it: the terms are trtexec's."""
    import torch

    hosts = [torch.from_numpy(x).pin_memory() for x in subject.xs]
    x, stream = bindings.x, bindings.stream
    y = torch.empty_like(bindings.y)
    target = torch.empty(y.shape, dtype=y.dtype, pin_memory=True)
    start, copied, computed, end, first = (torch.cuda.Event(enable_timing=True) for _ in range(5))
    infer, clock = subject.engine.infer, time.perf_counter_ns
    names = ("H2D Latency", "GPU Compute Time", "D2H Latency", "Latency", "Enqueue Time")

    def go(enqueue: Callable[[], Any], result: Any, count: int) -> tuple[list[list[float]], float]:
        times: list[list[float]] = [[] for _ in names]
        first.record()
        for i in range(count):
            start.record()
            x.copy_(hosts[i % SETS], non_blocking=True)
            copied.record()
            begin = clock()
            enqueue()
            took = clock() - begin
            computed.record()
            target.copy_(result, non_blocking=True)
            end.record()
            stream.synchronize()
            marks = [start, copied, computed, end]
            parts = [1000 * a.elapsed_time(b) for a, b in pairwise(marks)]
            for kept, value in zip(times, [*parts, sum(parts), took / 1000], strict=True):
                kept.append(value)
        return times, first.elapsed_time(end) / 1000

    ways: dict[str, tuple[Callable[[], Any], Any]] = {
        "fasttrt, infer(cuda, out=cuda)": (partial(infer, x, out=y), y),
        "bindings, execute_async_v3": (bindings.execute, bindings.y),
    }
    found: dict[str, list[list[float]]] = {name: [[] for _ in names] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    with bindings.current():
        for _ in range(rounds):
            for name, (enqueue, result) in ways.items():
                go(enqueue, result, 10)
                times, took = go(enqueue, result, count)
                seconds[name] += took
                for kept, new in zip(found[name], times, strict=True):
                    kept.extend(new)
            for name in ways:
                subject.network.check(
                    name, ways[name][1].cpu().numpy(), subject.right[(count - 1) % SETS]
                )
    for name, times in found.items():
        graph = subject.graph if name.startswith("fasttrt") else "no"
        print(
            f"{name}: transfers yes (pinned), CUDA graph {graph}, spin wait no (CUDA's own); "
            f"Throughput {rounds * count / seconds[name]:.1f} qps"
        )
        for term, values in zip(names, times, strict=True):
            s = summarize(values)
            print(
                f"  {term:17} min = {s.min:.1f} us, max = {s.max:.1f} us, mean = {s.mean:.1f} us, "
                f"median = {s.median:.1f} us, percentile(90%) = {s.p90:.1f} us, "
                f"percentile(95%) = {s.p95:.1f} us, percentile(99%) = {s.p99:.1f} us"
            )
            report.row(
                network=subject.network.name, batch=1, case=name, term=term, us=s._asdict(),
                transfers="pinned", graph=graph, wait="CUDA's",
            )  # fmt: skip


def variants(
    report: Report, subject: Subject, waits: tuple[Any, ...], rounds: int, count: int
) -> None:
    """Other ways to run: without graphs, other waits, CuPy, the bindings with graphs."""
    contestants = [Contestant(NUMPY, subject.engine.infer, subject.each, graph=subject.graph)]
    options: dict[str, dict[str, Any]] = {"cuda_graph=False": {"cuda_graph": False}}
    options |= {f'wait="{wait}"': {"wait": wait} for wait in waits}
    for name, given in options.items():
        engine = report.attempt(name, partial(subject.open, **given))
        if engine:
            graph, wait = (
                "no" if "cuda_graph" in given else subject.graph,
                given.get("wait", "auto"),
            )
            title = f"infer(numpy), {name}"
            contestants.append(
                Contestant(title, engine.infer, subject.each, graph=graph, wait=wait)
            )
    if subject.on_gpu:
        contestants += report.attempt("CuPy", on_cupy, subject, subject.engine) or []
        suffix = " + their graphs"
        load = partial(vendor.Bindings, subject.plan, subject.xs[0], graph=True)
        if bindings := report.attempt(f"bindings{suffix}", load):
            name = f"bindings{suffix}"
            contestants += report.attempt(name, bindings.contestants, subject.xs, suffix) or []
    report.compete(subject.network, contestants, subject.right, rounds, count)


def main() -> int:
    options = arguments(__doc__, budget=55).parse_args()
    report = Report("latency", options)
    on_gpu = options.device != "cpu"
    rounds = 3 if options.quick or not on_gpu else 5
    small = 200 if not on_gpu else 500 if options.quick else 2000
    large = 5 if not on_gpu else 50 if options.quick else 200

    mlp = report.run("MLP", compare, report, models.mlp, rounds, small)
    slack = {CUDA: (5.0, False), NUMPY: (8.0, False)}
    check_targets(report, "MLP", mlp[1] if mlp else {}, slack, 2.2)

    resnet = None
    if on_gpu or importlib.util.find_spec("torchvision") is not None:
        make = partial(models.resnet50, options.device)
        resnet = report.run("ResNet-50", compare, report, make, rounds, large)
    else:
        print("\n## ResNet-50: skipped, as torchvision is missing")
    check_targets(report, "ResNet-50", resnet[1] if resnet else {}, {NUMPY: (1.05, True)}, 1.8)

    waits = ("spin", "yield", "block")
    if mlp:
        report.run("MLP, variants", variants, report, mlp[0], waits, rounds, small, needs=8)
    if resnet:
        name = "ResNet-50, variants"
        report.run(name, variants, report, resnet[0], ("block",), rounds, large, needs=18)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
