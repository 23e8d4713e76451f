"""How long one run takes, next to the floor (a CUDA graph's replay), the vendor's bindings, others.

python bench/latency.py --json latency.json --plot plots
python bench/latency.py --model vit_b_16 model.onnx --shapes tokens:1x128:8x128:32x128
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import rivals
import vendor
from measure import Contestant, Stats
from models import Network
from networks import MLP, RESNET, chosen
from options import add_models, add_plot, arguments
from phases import phases
from plots import draw
from report import Report
from subject import CUDA, FLOOR, NUMPY, Subject, on_cupy, on_host, on_torch

BATCHES = (1, 2, 4, 8, 16, 32)


class Effort(NamedTuple):
    """How long to measure."""

    rounds: int
    runs: int  # in a round


def bindings_of(report: Report, subject: Subject, suffix: str = "", **options: Any) -> Any:
    """The vendor's bindings with the subject's plan; None if they are missing or fail."""
    name = f"bindings{suffix}"
    return report.attempt(name, partial(vendor.Bindings, subject, **options)) or None


def compare(
    report: Report, make: Callable[[], Network], effort: Effort
) -> tuple[Subject, dict[str, Stats]]:
    """The floor, fasttrt and the bindings, in turns."""
    network = make()
    least, most = network.batches
    batch = min(max(report.options.batch, least), most)
    subject = Subject(report, network, batch, batch)
    contestants = subject.floor
    contestants += report.attempt("numpy", on_host, subject) or []
    if subject.on_gpu:
        contestants += report.attempt("torch", on_torch, subject) or []
        if bindings := bindings_of(report, subject):
            print(f"bindings: {bindings.version}")
            contestants += report.attempt("bindings", bindings.contestants, subject.xs) or []
        few = max(effort.runs // 4, 1)
        report.attempt("phases", phases, report, subject, bindings, effort.rounds, few)
    stats = report.compete(subject.network, contestants, subject.right, *effort, subject.batch)
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


def frameworks(report: Report, subject: Subject, effort: Effort) -> None:
    """PyTorch and ONNX Runtime, in turns with the floor and fasttrt."""
    contestants = [*subject.floor, subject.plain]
    if subject.on_gpu:
        contestants += (report.attempt("torch", on_torch, subject) or [])[:1]
    contestants += report.attempt("ONNX Runtime", rivals.onnx_runtime, subject) or []
    contestants += report.attempt("torch eager", rivals.eager, subject) or []
    left = report.options.budget - report.elapsed
    contestants += report.attempt("torch.compile", rivals.compiled, subject, left) or []
    report.compete(subject.network, contestants, subject.right, *effort, subject.batch)


def by_batch(report: Report, subject: Subject, effort: Effort, name: str) -> None:
    """The floor, fasttrt and the bindings at each batch, all with one plan for all batches."""
    network = subject.network
    least, most = network.batches
    wanted = BATCHES if subject.on_gpu else BATCHES[:2]
    batches = [b for b in wanted if least <= b <= most] or [least]
    swept = Subject(report, network, batches[len(batches) // 2], batches[-1])
    lines: dict[str, list[tuple[float, float]]] = {}
    slowest = 0.0
    for batch in batches:
        start = report.elapsed
        if start + slowest > report.options.budget:
            report.leave_out(f"{network.name}, batch {batch} and more", "--budget")
            break
        swept.take(report, batch)
        contestants = [*swept.floor, swept.plain]
        if swept.on_gpu:
            contestants += (report.attempt("torch", on_torch, swept) or [])[:1]
            if bindings := bindings_of(report, swept):
                contestants += report.attempt("bindings", bindings.contestants, swept.xs) or []
        stats = report.compete(network, contestants, swept.right, *effort, batch)
        medians = {title: s.median for title, s in stats.items()}
        if base := vendor.baseline(medians):
            lines.setdefault("bindings, pinned, the best loop", []).append((batch, base[1]))
        for title in (NUMPY, CUDA, FLOOR):
            if title in medians:
                lines.setdefault(title, []).append((batch, medians[title]))
        slowest = max(slowest, report.elapsed - start)
    swept.engine.close()
    for title, points in lines.items():
        print(f"{title:46} " + ", ".join(f"{x}: {y:.1f} us" for x, y in points))
    if report.options.plot is not None:
        path = report.options.plot / f"latency-{name}.png"
        labels = (f"{network.name} ({report.gpu})", "batch", "median wall-clock time of a call, us")
        report.attempt("plot", draw, path, lines, *labels)


def variants(report: Report, subject: Subject, waits: tuple[Any, ...], effort: Effort) -> None:
    """Other ways to run: without graphs, other waits, CuPy, the bindings with graphs."""
    contestants = [subject.plain]
    options: dict[str, dict[str, Any]] = {"cuda_graph=False": {"cuda_graph": False}}
    options |= {f'wait="{wait}"': {"wait": wait} for wait in waits}
    for name, given in options.items():
        engine = report.attempt(name, partial(subject.open, **given))
        if engine:
            graph = "no" if "cuda_graph" in given else subject.graph
            wait = given.get("wait", "auto")
            title = f"infer(numpy), {name}"
            contestants.append(Contestant(title, engine.infer, subject.xs, graph=graph, wait=wait))
    if subject.on_gpu:
        contestants += report.attempt("CuPy", on_cupy, subject) or []
        suffix = " + their graphs"
        if bindings := bindings_of(report, subject, suffix, graph=True):
            name = f"bindings{suffix}"
            contestants += report.attempt(name, bindings.contestants, subject.xs, suffix) or []
    report.compete(subject.network, contestants, subject.right, *effort, subject.batch)


def main() -> int:
    parser = arguments(__doc__, budget=150)
    add_models(parser, "mlp resnet50")
    add_plot(parser)
    parser.add_argument("--batch", type=int, default=1, help="of all cases but 'by batch'; 1")
    options = parser.parse_args()
    report = Report("latency", options)
    on_gpu = options.device != "cpu"
    rounds = 3 if options.quick or not on_gpu else 5
    small = Effort(rounds, 200 if not on_gpu else 500 if options.quick else 2000)
    large = Effort(rounds, 5 if not on_gpu else 50 if options.quick else 200)
    floors = {
        MLP: ({CUDA: (5.0, False), NUMPY: (8.0, False)}, 2.2),
        RESNET: ({NUMPY: (1.05, True)}, 1.8),
    }

    found: dict[str, tuple[Subject, Effort]] = {}
    for name, make in chosen(options).items():
        effort = small if name == MLP else large
        done = report.run(name, compare, report, make, effort)
        if name in floors and options.batch == 1:
            check_targets(report, name, done[1] if done else {}, *floors[name])
        if done:
            found[name] = (done[0], effort)
    for name, (subject, effort) in found.items():
        title, needs = f"{name}, other frameworks", 12.0 if name == MLP else 25.0
        report.run(title, frameworks, report, subject, effort, needs=needs)
    for name, (subject, effort) in found.items():
        title, needs = f"{name}, by batch", 8.0 if name == MLP else 15.0
        few = Effort(3, max(effort.runs // 4, 5))
        report.run(title, by_batch, report, subject, few, subject.network.slug, needs=needs)
    for name, (subject, effort) in found.items():
        waits, needs = (("spin", "yield", "block"), 8.0) if name == MLP else (("block",), 18.0)
        report.run(f"{name}, variants", variants, report, subject, waits, effort, needs=needs)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
