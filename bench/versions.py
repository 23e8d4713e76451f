"""How long `infer` takes in several versions of fasttrt, side by side on one GPU.

python bench/versions.py old=/tmp/old new=/tmp/new --json versions.json

Each version is a folder that `pip install --target` has filled, and has a process of its own
(`versions_worker.py`) that stays. They take turns in short rounds, in a changing order, each with
its engines of the same ONNX files and the same inputs, batch 1. A round's median is compared with
that of the first version in the same turn, on the same core: some cores of a shared host are slow
for a while.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import summarize
from models import Network
from networks import MLP, chosen
from options import add_models, arguments
from report import Report

from fasttrt._graph.model import OnnxModel

WORKER = Path(__file__).parent / "versions_worker.py"
SLOWER = 1.03  # than the first version, at most


class Version:
    """A process that runs one version."""

    def __init__(self, name: str, path: Path, folder: Path, device: str) -> None:
        """Start it; `cases` waits until it is ready."""
        self.name = name
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
        }
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), device],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def cases(self) -> list[tuple[str, str]]:
        """Network and way of each case."""
        return [(network, case) for network, case in self._answer()]

    def round(self, network: str, case: str, runs: int, core: int) -> list[float]:
        """Microseconds of each run, on one core."""
        print(json.dumps([network, case, runs, core]), file=self.process.stdin, flush=True)
        times: list[float] = self._answer()
        return times

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=60)

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait(60)}")
        return json.loads(line)


def save(network: Network, folder: Path) -> None:
    """Write the model, four inputs of batch 1 and the right answers."""
    xs, right = network.inputs(1, 4)
    path = folder / f"{network.slug}.onnx"
    path.write_bytes(OnnxModel(network.model).to_bytes())
    x, y = np.stack([x for (x,) in xs]), np.stack([y for (y,) in right])
    np.savez(path.with_suffix(".npz"), name=network.name, x=x, y=y)


def compare(report: Report, makers: dict[str, Callable[[], Network]]) -> None:
    """All cases in turns."""
    options = report.options
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = set()
        for title, make in makers.items():
            network = make()
            save(network, folder)
            small |= {network.name} if title == MLP else set()
        versions = [
            Version(title, path, folder, options.device) for title, path in options.versions
        ]
        try:
            cases, *_ = [version.cases() for version in versions]
            for network_name, case in cases:
                runs = 5 if options.device == "cpu" else 400 if network_name in small else 60
                measure(report, versions, network_name, case, runs)
        finally:
            for version in versions:
                version.close()


def measure(report: Report, versions: list[Version], network: str, case: str, runs: int) -> None:
    """Rounds of one case, and the target of each version but the first."""
    rounds = 10 if report.options.quick else 20
    medians: dict[str, list[float]] = {version.name: [] for version in versions}
    every: dict[str, list[float]] = {version.name: [] for version in versions}
    cores = sorted(os.sched_getaffinity(0))
    for i in range(rounds):
        core = cores[(5 * i + 3) % len(cores)]
        shift = i % len(versions)
        for version in versions[shift:] + versions[:shift]:
            times = version.round(network, case, runs, core)
            medians[version.name].append(statistics.median(times))
            every[version.name] += times
    first = versions[0].name
    for name, found in medians.items():
        stats = summarize(every[name])
        ratios = [own / base for own, base in zip(found, medians[first], strict=True)]
        ratio = statistics.median(ratios)
        print(
            f"{network}, {case:22} {name:10} median {stats.median:8.1f} us, 99 % {stats.p99:8.1f}; "
            f"{ratio:.3f} x {first} ({min(ratios):.3f} to {max(ratios):.3f} of {rounds} rounds)"
        )
        report.row(
            network=network, case=case, version=name, us=stats._asdict(), medians_of_rounds=found,
            ratio=ratio,
        )  # fmt: skip
        if name != first:
            text = f"{network}: median of {name} / {first}"
            got = None if report.options.device == "cpu" else ratio
            report.target(case, text, got=got, limit=SLOWER, most=True)


def parse_version(text: str) -> tuple[str, Path]:
    """Read ``NAME=FOLDER``."""
    name, found, path = text.partition("=")
    if not found or not Path(path, "fasttrt").is_dir():
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER with a fasttrt in it, got {text!r}")
    return name, Path(path)


def main() -> int:
    """Compare the versions."""
    parser = arguments(__doc__, budget=100)
    add_models(parser, "mlp resnet50")
    parser.add_argument("versions", nargs="+", type=parse_version, metavar="NAME=FOLDER")
    report = Report("versions", parser.parse_args())
    report.run("versions", compare, report, chosen(report.options))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
