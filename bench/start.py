"""How long a process takes from ``import fasttrt`` to its first result, with and without caches.

python bench/start.py --json start.json

Each start is a process of its own, and its answer is compared with the right one. The interpreter's
own start is not in the time, numpy's is. "no cache" builds the engine; "plan" finds it built, and
on TensorRT-RTX compiles the kernels, and keeps none; "plan and kernels" finds those compiled too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from first_second import OPENING
from models import Network
from networks import RESNET, chosen
from options import add_models, arguments
from plans import exact_shapes
from report import Report

import fasttrt
from fasttrt._graph.model import OnnxModel

FASTER = 3.0  # with the kernels than without, at least
NO_CACHE, PLAN, KERNELS = "no cache", "plan", "plan and kernels"
FULL = 5  # starts of each kind
PHASES = ("import", "open", "first result", "all")

CHILD = """
import time
begin = time.perf_counter()
import fasttrt
imported = time.perf_counter()
import json, sys
import numpy as np
model, cache, device, contexts, shapes, *inputs, result = sys.argv[1:]
xs = [np.load(path) for path in inputs]
before = time.perf_counter()
engine = fasttrt.Engine(
    model, device=device, shapes=json.loads(shapes), cache=cache or False, progress=False,
    contexts=int(contexts),
)
opened = time.perf_counter()
y = engine.infer(*xs)
end = time.perf_counter()
for i, array in enumerate(y if isinstance(y, tuple) else (y,)):
    np.save(f"{result}-{i}.npy", array)
engine.close()
print(json.dumps([imported - begin, opened - before, end - opened, end - begin]))
"""


def start_times(
    network: Network, device: str, starts: int, folder: Path, contexts: int, shapes: dict[str, Any]
) -> dict[str, Any]:
    """Seconds of each phase of each start, by what was cached."""
    model, cache = folder / "model.onnx", folder / "cache"
    model.write_bytes(OnnxModel(network.model).to_bytes())
    (xs, *_), (right, *_) = network.inputs(network.sizes[0], 2)
    files = [folder / f"x{i}.npy" for i in range(len(xs))]
    for file, x in zip(files, xs, strict=True):
        np.save(file, x)

    def start(used: Path | None) -> list[float]:
        command = [sys.executable, "-c", CHILD, str(model), str(used or ""), device]
        command += [str(contexts), json.dumps(shapes), *map(str, files), str(folder / "y")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"a start failed:\n{done.stdout}\n{done.stderr}")
        answers = [np.load(folder / f"y-{i}.npy") for i in range(len(right))]
        network.check("a start", tuple(answers), right)
        found: list[float] = json.loads(done.stdout.splitlines()[-1])
        return found

    def without_kernels() -> list[float]:
        kernels, aside = cache / "kernels", folder / "aside"
        if not kernels.is_dir():  # nothing is compiled at that time
            return start(cache)
        kernels.rename(aside)
        kernels.touch()  # no folder, so none are kept either, which takes time
        try:
            return start(cache)
        finally:
            kernels.unlink()
            aside.rename(kernels)

    cases: dict[str, Callable[[], list[float]]] = {
        NO_CACHE: lambda: start(None),
        PLAN: without_kernels,
        KERNELS: lambda: start(cache),
    }
    if starts < FULL:
        del cases[NO_CACHE]
    start(cache)  # which fills it, and the system's cache of files
    times: dict[str, list[list[float]]] = {name: [] for name in cases}
    for _ in range(starts):
        for name, case in cases.items():
            times[name].append(case())
    return times


def measure(report: Report, name: str, make: Callable[[], Network], contexts: int) -> None:
    """One network's table for batch 1 alone, and for a range of batches; the targets."""
    options = report.options
    network = make()
    on_rtx = options.device != "cpu" and fasttrt.library().family == "rtx"
    for title, shapes in (
        ("batch 1", exact_shapes(network, network.sizes[0])),
        (f"{network.sizes[0]} to {network.sizes[-1]} {network.unit}", network.shapes()),
    ):
        starts = 2 if options.quick else FULL
        with tempfile.TemporaryDirectory() as folder:
            case = (network, options.device, starts, Path(folder), contexts, shapes)
            times = start_times(*case)
        print(f"{network.name}, {title}, {contexts} contexts: median seconds of {starts} starts")
        print(f"{'cached':18} " + " ".join(f"{phase:>12}" for phase in PHASES))
        medians = {}
        for cached, found in times.items():
            medians[cached] = np.median(np.array(found), 0)
            print(f"{cached:18} " + " ".join(f"{value:12.3f}" for value in medians[cached]))
            report.row(
                network=network.name, shapes=title, contexts=contexts, case=cached, phases=PHASES,
                seconds=found,
            )  # fmt: skip
        ratio = float(medians[PLAN][-1] / medians[KERNELS][-1])
        report.value(f"{name}, {title}: faster with kernels", ratio, "times")
        if name == RESNET and on_rtx and title == "batch 1":
            text = f"{contexts} contexts: start with the plan cached / with the plan and kernels"
            report.target(f"{name} start", text, got=ratio, limit=FASTER, most=False)
        elif name == RESNET and on_rtx and contexts in OPENING:
            text = f"{title}, {contexts} contexts: seconds to open from the cache"
            got, limit = float(medians[KERNELS][1]), OPENING[contexts]
            report.target(f"{name} start", text, got=got, limit=limit, most=True)


def main() -> int:
    """All networks that are asked for."""
    parser = arguments(__doc__, budget=150)
    add_models(parser, "resnet50")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 4])
    report = Report("start", parser.parse_args())
    for name, make in chosen(report.options).items():
        for contexts in report.options.contexts:
            title = f"{name}, {contexts} contexts"
            report.run(title, measure, report, name, make, contexts)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
