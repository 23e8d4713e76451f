"""Up to which size the GPU does better to read and write the host's memory in place.

python bench/transfers.py --json transfers.json

Where `EngineOptions.mapped_limit` comes from: arrays of up to so many bytes lie in page-locked
memory that kernels access over PCIe; larger ones are copied by the copy engines. Each model runs
with either for all sizes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import models
import numpy as np
from measure import summarize, timed
from models import Array, Network
from options import arguments
from report import Report

import fasttrt
from fasttrt import _core
from fasttrt._library.discovery import find

LEAST, MOST = 1 << 10, 4 << 20  # bytes of input
LIMITS = {"copied": 0, "mapped": 1 << 40}
CASES: dict[str, Callable[[], Network]] = {
    "elementwise": models.elementwise,
    "convolution": models.convolution,
    "product": models.product,
}


def open_core(plan: fasttrt.Plan, limit: int, specialization: str) -> Any:
    """The core's own engine, the only one that lets the limit be set."""
    options: Any = _core.EngineOptions()
    options.device = 0
    options.contexts = 1
    options.mapped_limit = limit
    options.set_specialization(specialization)
    options.set_cuda_graph("automatic")
    options.set_wait("auto")
    family = plan.metadata["library"]["family"]
    engine_class: Any = _core.Engine
    return engine_class(find(family if family == "rtx" else "auto", 0), plan.data, options)


def open_calls(network: Network, most: int, report: Report) -> dict[str, Callable[[Array], Array]]:
    """A function that runs the network, for each of the limits."""
    device = report.options.device
    shapes = network.shapes(opt=most, largest=most)
    start = time.perf_counter()
    calls: dict[str, Callable[[Array], Array]] = {}
    if device == "cpu":
        engine = fasttrt.Engine(network.model, device=device)
        return dict.fromkeys(LIMITS, engine.infer)
    plan = fasttrt.build(network.model, shapes=shapes, device=device, progress=False)
    for name, limit in LIMITS.items():
        core = open_core(plan, limit, report.options.specialization)

        def call(x: Array, infer: Callable[..., Any] = core.infer) -> Array:
            y: Array = infer((x,), None, None)[0]
            return y

        calls[name] = call
    print(f"{time.perf_counter() - start:.2f} s to build and to load twice", flush=True)
    return calls


def crossover(sizes: Sequence[int], ratios: Sequence[float]) -> float:
    """The size from which on mapping is slower, between measured ones.

    Args:
        sizes: in bytes, ascending.
        ratios: of the time mapped to the time copied. A single one above 1 may be chance.

    Returns:
        0 if it is slower for all, infinity if for none.
    """
    slower = [ratio > 1 for ratio in ratios]
    stays = (i for i in range(len(slower)) if all(slower[i : i + 2]))
    first = next(stays, None)
    if first is None:
        return math.inf
    if first == 0:
        return 0.0
    near = slice(first - 1, first + 1)
    (x0, x1), (y0, y1) = np.log(sizes[near]), np.log(ratios[near])
    return float(np.exp(x0 - y0 * (x1 - x0) / (y1 - y0)))


def compare(
    report: Report, name: str, make: Callable[[], Network], rounds: int, count: int, step: int
) -> float:
    """One model with inputs of all sizes; the crossover in bytes of input."""
    network = make()
    sample = network.draw(1)[0].nbytes
    sizes = [LEAST << i for i in range(0, (MOST // LEAST).bit_length(), step)]
    calls = open_calls(network, MOST // sample, report)
    print(
        f"{network.name}: median wall-clock time of infer(numpy) in us; transfers yes, "
        f"CUDA graph auto, wait auto\n{'in':>9} {'out':>9} {'copied':>9} {'mapped':>9} {'ratio':>7}"
    )
    ratios = []
    for size in sizes:
        xs, right = network.inputs(size // sample, 2)
        for way, call in calls.items():
            for _ in range(4):
                for x, y in zip(xs, right, strict=True):
                    network.check(f"{way}, {size} bytes", call(*x), y)
        times: dict[str, list[float]] = {way: [] for way in calls}
        runs = max(20, min(count, count * (64 << 10) // size))
        for i in range(rounds):
            for way in list(calls) if i % 2 == 0 else list(calls)[::-1]:
                timed(calls[way], xs, 10)
                times[way] += timed(calls[way], xs, runs)
        stats = {way: summarize(kept) for way, kept in times.items()}
        copied, mapped = stats["copied"].median, stats["mapped"].median
        ratios.append(mapped / copied)
        out = right[0][0].size * xs[0][0].itemsize
        print(f"{size:9} {out:9} {copied:9.1f} {mapped:9.1f} {ratios[-1]:7.3f}", flush=True)
        for way, values in stats.items():
            report.row(
                network=network.name, case=name, way=way, bytes_in=size, bytes_out=out,
                us=values._asdict(), transfers="host", graph="auto", wait="auto",
            )  # fmt: skip
    found = crossover(sizes, ratios)
    report.value(f"{network.name}: mapped is quicker up to", found, "bytes of input")
    return found


def main() -> int:
    parser = arguments(__doc__, budget=25)
    parser.add_argument(
        "--models", default="elementwise,convolution,product",
        help="which of them; the later ones are left out for lack of time",
    )  # fmt: skip
    parser.add_argument(
        "--specialization", default="eager", choices=["eager", "none"],
        help="none: no kernels are compiled for each size, if that takes too long",
    )  # fmt: skip
    options = parser.parse_args()
    report = Report("transfers", options)
    quick = options.quick or options.device == "cpu"
    scale = (2, 50, 2) if quick else (3, 200, 1)
    found = []
    for i, name in enumerate(options.models.split(",")):
        # As long as the ones before took, at least.
        needs = 0 if i < 2 else report.elapsed / i
        found.append(report.run(name, compare, report, name, CASES[name], *scale, needs=needs))
    known = [value for value in found if value is not None]
    print("\n## Crossover")
    for name, value in zip(options.models.split(","), found, strict=True):
        print(f"{name:12} {'not measured' if value is None else f'{value / 1024:.1f} KiB'}")
    if known:
        print(f"a limit that serves all of them: {min(known) / 1024:.1f} KiB")
    default: Any = _core.EngineOptions() if hasattr(_core, "EngineOptions") else None
    if default is not None:
        print(f"the limit in use: {default.mapped_limit / 1024:.1f} KiB")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
