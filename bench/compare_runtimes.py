"""One call from numpy to numpy, in fasttrt and in what else runs ONNX models on NVIDIA's GPUs.

python bench/compare_runtimes.py --json runtimes.json
python bench/picture.py runtimes.json docs/runtimes.svg
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import models
import rivals
import vendor
from measure import Contestant
from models import Network
from options import arguments
from report import Report
from subject import Subject
from vision import vision

NETWORKS = ("mlp", "resnet50-fp16", "resnet50-fp32")
FASTTRT = "fasttrt"
MEASURING = 10.0  # seconds, after torch.compile
NEEDED = 30.0  # seconds for a network, without which it need not begin


def maker(name: str, device: str) -> Callable[[], Network]:
    if name == "mlp":
        return models.mlp
    network, _, kind = name.partition("-")
    return partial(vision, network, device, kind == "fp16")


def contestants(report: Report, subject: Subject) -> dict[str, Sequence[Contestant]]:
    """Each runtime's ways from numpy to numpy: all settings of others, fasttrt's as it comes."""
    found = {FASTTRT: [subject.plain]}
    if subject.on_gpu:
        provider = "ONNX Runtime, TensorRT-RTX provider"
        found[provider] = report.attempt(provider, rivals.onnx_runtime_rtx, subject) or []
        found["vendor's Python bindings"] = [
            contestant
            for suffix, graph in (("", False), (" + their graphs", True))
            for contestant in report.attempt(f"bindings{suffix}", bindings, subject, suffix, graph)
            or []
        ]
    left = report.options.budget - report.elapsed - MEASURING
    found["torch.compile"] = [
        contestant
        for contestant in report.attempt("torch.compile", rivals.compiled, subject, left) or []
        if contestant.transfers == "host"
    ]
    return {runtime: ways for runtime, ways in found.items() if ways}


def bindings(subject: Subject, suffix: str, graph: bool) -> list[Contestant]:
    """Those that begin and end with numpy arrays."""
    ways = vendor.Bindings(subject, graph=graph).contestants(subject.xs, suffix)
    return [way for way in ways if ", pinned," not in way.name]


def compare(report: Report, make: Callable[[], Network], rounds: int, runs: int) -> None:
    """All in turns, and then the best way of each runtime beside fasttrt."""
    network = make()
    subject = Subject(report, network, 1, 1)
    found = contestants(report, subject)
    everything = [contestant for ways in found.values() for contestant in ways]
    stats = report.compete(network, everything, subject.right, rounds, runs)
    subject.engine.close()
    if subject.plain.name not in stats:
        return
    own = stats[subject.plain.name].median
    print(f"\n{network.name}, batch 1, numpy to numpy: median us, and as a multiple of fasttrt's")
    for runtime, ways in found.items():
        running = [way for way in ways if way.name in stats]
        if not running:
            continue
        best = min(running, key=lambda way: stats[way.name].median)
        median = stats[best.name].median
        print(f"{runtime:36} {median:10.1f} {median / own:6.2f}   {best.name}")
        report.row(
            network=network.name, batch=1, runtime=runtime, case=best.name,
            us=stats[best.name]._asdict(), ratio=median / own,
        )  # fmt: skip


def main() -> int:
    parser = arguments(__doc__, budget=180)
    parser.add_argument(
        "--model", nargs="+", default=NETWORKS, choices=NETWORKS, help="all if not given"
    )
    options = parser.parse_args()
    report = Report("compare_runtimes", options)
    on_gpu = options.device != "cpu"
    rounds = 3 if options.quick or not on_gpu else 5
    for name in options.model:
        runs = 5 if not on_gpu else 2000 if name == "mlp" else 200
        needs = 0.0 if options.quick or name == options.model[0] else NEEDED
        report.run(name, compare, report, maker(name, options.device), rounds, runs, needs=needs)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
