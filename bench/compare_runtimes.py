"""One call from numpy to numpy, in fasttrt and in what else runs ONNX models on NVIDIA's GPUs.

python bench/compare_runtimes.py --json runtimes.json
python bench/picture.py runtimes.json docs/runtimes.svg
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import models
import rivals
import vendor
from measure import Contestant
from models import Network
from options import arguments
from picture import OURS, fastest
from report import Report
from subject import Subject
from vision import vision

NETWORKS = ("mlp", "resnet50-fp16", "resnet50-fp32")
MEASURING = 10.0  # seconds, after torch.compile
NEEDED = 30.0  # seconds for a network, without which it need not begin


def maker(name: str, device: str) -> Callable[[], Network]:
    if name == "mlp":
        return models.mlp
    network, _, kind = name.partition("-")
    return partial(vision, network, device, kind == "fp16")


def contestants(report: Report, subject: Subject) -> list[Contestant]:
    """Ways from numpy to numpy: all settings of other runtimes, fasttrt as it comes."""
    found = [subject.plain]
    if subject.on_gpu:
        found += report.attempt("TensorRT-RTX provider", rivals.onnx_runtime_rtx, subject) or []
        for name, graph in (("bindings", False), ("bindings + their graphs", True)):
            found += report.attempt(name, bindings, subject, graph) or []
    left = report.options.budget - report.elapsed - MEASURING
    compiled = report.attempt("torch.compile", rivals.compiled, subject, left) or []
    return found + [way for way in compiled if way.transfers == "host"]


def bindings(subject: Subject, graph: bool) -> list[Contestant]:
    """The loops of the vendor's bindings that begin and end with numpy arrays."""
    suffix = " + their graphs" if graph else ""
    ways = vendor.Bindings(subject, graph=graph).contestants(subject.xs, suffix)
    return [way for way in ways if ", pinned," not in way.name]


def compare(report: Report, make: Callable[[], Network], rounds: int, runs: int) -> None:
    """Measure all in turns, and print the fastest way of each runtime beside fasttrt."""
    network = make()
    subject = Subject(report, network, 1, 1)
    stats = report.compete(network, contestants(report, subject), subject.right, rounds, runs)
    subject.engine.close()
    rows = [
        {"network": network.name, "case": name, "us": times._asdict()}
        for name, times in stats.items()
    ]
    found = fastest(rows).get(network.name, {})
    if OURS not in found:
        return
    own = found[OURS]["us"]["median"]
    print(f"\n{network.name}, batch 1, numpy to numpy: median us, and as a multiple of fasttrt's")
    for row in found.values():
        median = row["us"]["median"]
        print(f"{row['case']:66} {median:10.1f} {median / own:6.2f}")


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
