"""Runs rounds of `infer` for `versions.py`, with the fasttrt that PYTHONPATH has.

It uses fasttrt's public names, numpy and torch alone, as it also runs older versions. It answers
each line of JSON, [network, case, runs, core], with the microseconds of the runs on that core.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fasttrt

TOLERANCE = 2e-2  # of the largest value: half precision


class Case(NamedTuple):
    """A way to call an engine."""

    call: Callable[[int], Any]
    """Runs the input with that index."""
    read: Callable[[Any], Any]
    """The result in host memory."""
    right: Any
    """The answers."""

    def check(self, name: str) -> None:
        """Compare all answers.

        Raises:
            RuntimeError: one is wrong.
        """
        for index, right in enumerate(self.right):
            for _ in range(3):
                y = np.asarray(self.read(self.call(index)), np.float64)
                off = np.abs(y - right).max() / np.abs(right).max()
                if not off < TOLERANCE:
                    raise RuntimeError(f"{name} is off by {off:.3g} of the largest value")

    def run(self, runs: int) -> list[float]:
        """Microseconds of each run, with inputs in turns, after some to warm up."""
        count, clock, times = len(self.right), time.perf_counter, []
        for index in range(runs // 4):
            self.call(index % count)
        gc.disable()
        for index in range(runs):
            start = clock()
            self.call(index % count)
            times.append(1e6 * (clock() - start))
        gc.enable()
        return times


def cases(engine: fasttrt.Engine, xs: Any, right: Any) -> Iterator[tuple[str, Case]]:
    """From numpy arrays, from page-locked ones, and from the GPU to the GPU."""
    yield "infer(numpy)", Case(lambda index: engine.infer(xs[index]), np.asarray, right)
    if engine.device == "cpu":
        return
    import torch

    pinned = [fasttrt.empty_pinned(x.shape, x.dtype) for x in xs]
    for target, x in zip(pinned, xs, strict=True):
        target[...] = x
    yield "infer(pinned)", Case(lambda index: engine.infer(pinned[index]), np.asarray, right)
    inputs = [torch.from_numpy(x).cuda() for x in xs]
    y: Any = engine.infer(inputs[0])
    wait = torch.cuda.current_stream().synchronize

    def into(index: int) -> Any:
        engine.infer(inputs[index], out=y)
        wait()
        return y

    yield "infer(cuda, out=cuda)", Case(into, lambda y: y.cpu().numpy(), right)


def open_all(folder: Path, device: str) -> dict[tuple[str, str], Case]:
    """Build and load each network of the folder for the shape of its inputs."""
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        data = np.load(path.with_suffix(".npz"))
        xs, shapes = list(data["x"]), {"x": data["x"][0].shape}
        engine = fasttrt.Engine(path, device=device, shapes=shapes, cache=False, progress=False)
        for name, case in cases(engine, xs, data["y"]):
            found[str(data["name"]), name] = case
    return found


def main() -> None:
    """Serve rounds until the input ends."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        found = open_all(Path(sys.argv[1]), sys.argv[2])
        print(json.dumps(list(found)), file=answers, flush=True)
        for line in sys.stdin:
            network, name, runs, core = json.loads(line)
            case, cores = found[network, name], os.sched_getaffinity(0)
            case.check(f"{network}, {name}")  # starts threads, too, which may run anywhere
            os.sched_setaffinity(0, {core})
            times = case.run(runs)
            os.sched_setaffinity(0, cores)
            print(json.dumps(times), file=answers, flush=True)


if __name__ == "__main__":
    main()
