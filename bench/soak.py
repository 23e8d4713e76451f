"""Runs engines from many threads for long: every answer has to be right, and no memory may go.

python bench/soak.py                       # 10,000 runs from 8 threads
python bench/soak.py --runs 1000000 --contexts 1

Prints the device's free memory and this process's resident memory after the warm-up and after each
tenth of the runs. Exits with 1 if an answer was wrong, or if the most in use in the second half is
16 MiB of device memory or 32 MiB of host memory above the most in use in the first. (TensorRT-RTX's
contexts grow with every change of shape until they are made anew, so host memory goes up and down.)
"""

from __future__ import annotations

import argparse
import gc
import itertools
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from checked import TOLERANCE, Checked, open_engines

from fasttrt import _core

DEVICE_LIMIT = 16 << 20
HOST_LIMIT = 32 << 20
MIB = 1 << 20


class Memory(NamedTuple):
    """In bytes."""

    device_free: int
    resident: int


def measure(device: str) -> Memory:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    free = 0 if device == "cpu" else _core.device_memory(int(device.partition(":")[2] or 0))[0]
    return Memory(free, pages * resource.getpagesize())


def show(when: str, memory: Memory) -> None:
    free, resident = memory.device_free / MIB, memory.resident / MIB
    print(f"{when:14} device free {free:10.1f} MiB, resident {resident:8.1f} MiB", flush=True)


def work(engines: list[Checked], runs: int) -> tuple[int, float]:
    """How many answers were given, and the largest error."""
    rng = np.random.default_rng()
    worst = 0.0
    for _, checked in zip(range(runs), itertools.cycle(engines), strict=False):
        worst = max(worst, checked.run(rng))
    return runs, worst


def run_all(pool: ThreadPoolExecutor, engines: list[Checked], runs: int, threads: int) -> float:
    shares = [runs // threads + (i < runs % threads) for i in range(threads)]
    results = [done.result() for done in [pool.submit(work, engines, share) for share in shares]]
    assert sum(count for count, _ in results) == runs
    return max(worst for _, worst in results)


def warm_up(pool: ThreadPoolExecutor, engines: list[Checked], threads: int, device: str) -> float:
    """Run until nothing grows: buffers, and kernels that are compiled for shapes in use."""
    rng = np.random.default_rng()
    worst = max(
        done.result()
        for done in [
            pool.submit(checked.run, rng, checked.largest)
            for checked in engines
            for _ in range(2 * threads)
        ]
    )
    before = measure(device)
    for _ in range(20):
        worst = max(worst, run_all(pool, engines, 100 * threads, threads))
        time.sleep(0.5)
        after = measure(device)
        if (
            before.device_free - after.device_free < MIB // 2
            and after.resident - before.resident < MIB // 2
        ):
            break
        before = after
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    kinds = ["auto", "eager", "lazy", "none"]
    parser.add_argument("--specialization", default="auto", choices=kinds)
    options = parser.parse_args()

    device = options.device
    engines = open_engines(device, options.contexts, options.specialization)
    with ThreadPoolExecutor(options.threads) as pool:
        worst = warm_up(pool, engines, options.threads, device)
        show("after warm-up", measure(device))
        begin = time.perf_counter()
        points = []
        for tenth in range(1, 11):
            share = options.runs * tenth // 10 - options.runs * (tenth - 1) // 10
            worst = max(worst, run_all(pool, engines, share, options.threads))
            points.append(measure(device))
            show(f"{options.runs * tenth // 10} runs", points[-1])
        elapsed = time.perf_counter() - begin
    for checked in engines:
        checked.engine.close()
    show("after close()", measure(device))

    rate = options.runs / elapsed
    print(f"largest error {worst:.2e}, {rate:.0f} runs a second with their checks")
    problems = []
    if not worst <= TOLERANCE:
        problems.append(f"a wrong answer: off by {worst:.2e}, up to {TOLERANCE:.0e} is right")
    first, second = points[:5], points[5:]
    lost = min(p.device_free for p in first) - min(p.device_free for p in second)
    if lost > DEVICE_LIMIT:
        problems.append(f"{lost / MIB:.1f} MiB of device memory lost")
    grown = max(p.resident for p in second) - max(p.resident for p in first)
    if grown > HOST_LIMIT:
        problems.append(f"{grown / MIB:.1f} MiB of host memory lost")
    print("\n".join(problems) or "right")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
