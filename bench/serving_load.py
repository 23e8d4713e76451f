"""A long load on `fasttrt serve`: every answer has to be right, and no memory may go.

python bench/serving_load.py --device cpu                      # 1,000,000 requests
python bench/serving_load.py --device cpu --requests 20000 --memory-budget 60k

Clients in processes of their own pipeline requests over connections that they keep: models with
floats, integers and strings, 1 to 32 rows and 1.3 MB, binary tensors, JSON, gzip, chunks, and all
kinds of mistakes; now and then a client dies in the middle of a request. Others use gRPC, with and
without streams. Each answer is compared with what it has to be (numpy's results, the request's id,
the error's status and text).

Prints the server's resident memory, descriptors and threads as it goes. Then the server is killed,
started again, and timed until it is ready. Exits with 1 if an answer was wrong or missing, or if
the most memory in use in the second half is 16 MiB above the most in use in the first, or if
descriptors or threads are left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from load_client import run_client
from load_grpc import run_grpc_client
from load_requests import LIMIT, save_models
from served import ServeProcess

GROWTH = 16.0
"""MiB."""
SETTLING = 10.0
"""Seconds after which connections of clients that are gone are closed."""


class Sample(NamedTuple):
    """What the server holds."""

    requests: int
    resident_mib: float
    descriptors: int
    threads: int


def sample(server: ServeProcess, requests: int) -> Sample:
    """Look at the server's process."""
    process = Path(f"/proc/{server.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGESIZE") / (1 << 20)
    return Sample(
        requests,
        resident,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )


def show(seconds: float, now: Sample) -> None:
    """Print a line."""
    print(
        f"{seconds:7.0f} s {now.requests:9} requests, resident {now.resident_mib:7.1f} MiB, "
        f"{now.descriptors:4} descriptors, {now.threads:3} threads",
        flush=True,
    )


class Load:
    """Clients, and what they have counted."""

    def __init__(self, server: ServeProcess, folder: Path, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._counts: Any = context.Queue()
        self._problems: Any = context.Queue()
        self._is_over = context.Event()
        self.tally: Counter[str] = Counter()
        self.problems: list[str] = []
        http = [(run_client, server.port)] * options.clients
        grpc = [(run_grpc_client, server.grpc_port)] * options.grpc_clients
        shared = (self._counts, self._is_over, self._problems)
        self._processes = [
            context.Process(target=run, args=(port, folder, options.seed + i, *shared), daemon=True)
            for i, (run, port) in enumerate(http + grpc)
        ]
        for process in self._processes:
            process.start()

    @property
    def right(self) -> int:
        """Requests with the right answers."""
        return self.tally.total() - self.tally["died"]

    @property
    def runs(self) -> bool:
        """Whether clients go on."""
        return not self._is_over.is_set() and len(self.problems) < 20

    def gather(self, seconds: float) -> None:
        """Add up what is counted within so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.tally.update(self._counts.get(timeout=left))
            except queue.Empty:
                break
        while not self._problems.empty():
            self.problems.append(self._problems.get())

    def stop(self) -> None:
        """Let the clients end."""
        self._is_over.set()
        while any(process.is_alive() for process in self._processes):
            self.gather(0.2)
        self.gather(0.5)


def run_load(server: ServeProcess, folder: Path, options: argparse.Namespace) -> bool:
    """The load; whether all was well."""
    warm = Load(server, folder, options)  # what comes with the first requests stays
    while warm.runs and warm.right < options.requests // 100:
        warm.gather(0.5)
    warm.stop()
    time.sleep(SETTLING)
    start = time.monotonic()
    before = sample(server, warm.right)
    show(0, before)
    load = Load(server, folder, options)
    load.problems += warm.problems
    samples: list[Sample] = []
    step = options.requests // 20
    while load.runs and load.right < options.requests:
        load.gather(0.5)
        if load.right >= step * (len(samples) + 1):
            samples.append(sample(server, load.right))
            show(time.monotonic() - start, samples[-1])
        if server.process.poll() is not None:
            load.problems.append(f"the server ended with {server.process.returncode}")
            break
    seconds = time.monotonic() - start
    load.stop()
    for kind, count in sorted(load.tally.items()):
        print(f"{kind:20} {count:9}")
    print(f"{load.right} answers, all right but {len(load.problems)}, {load.right / seconds:.0f}/s")
    for problem in load.problems:
        print(f"PROBLEM: {problem}")
    if server.process.poll() is not None:
        return False
    time.sleep(SETTLING)
    after = sample(server, load.right)
    show(time.monotonic() - start, after)
    return not load.problems and load.right >= options.requests and is_flat(before, samples, after)


def is_flat(before: Sample, samples: list[Sample], after: Sample) -> bool:
    """Whether nothing has grown."""
    half = len(samples) // 2
    halves = [max(s.resident_mib for s in part) for part in (samples[:half], samples[half:])]
    print(f"most resident memory: {halves[0]:.1f} MiB in the first half, {halves[1]:.1f} after it")
    well = halves[1] - halves[0] <= GROWTH
    print(f"descriptors: {before.descriptors} before, {after.descriptors} after")
    print(f"threads: {before.threads} before, {after.threads} after")
    grown = after.descriptors - before.descriptors, after.threads - before.threads
    return well and grown[0] <= 4 and grown[1] <= 0


def main() -> int:
    """The load, the kill, the start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=3, help="processes")
    parser.add_argument(
        "--grpc-clients", type=int, default=1, help="processes; they need tritonclient[grpc]"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--memory-budget", metavar="SIZE", help="of the server")
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "models"
        save_models(folder)
        more = ["--http-max-input-size", str(LIMIT), "--device", options.device]
        if options.device != "cpu":
            more += ["--precision", "fp32"]
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # for TensorRT-RTX
        if options.memory_budget:
            more += ["--memory-budget", options.memory_budget]
        log = Path(name) / "log"
        started = time.monotonic()
        with ServeProcess(folder, log, more) as server:
            print(f"ready {time.monotonic() - started:.1f} s after its start")
            well = run_load(server, folder, options)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        killed = time.monotonic()
        with ServeProcess(folder, log, more):
            print(f"killed, started again, ready after {time.monotonic() - killed:.1f} s")
        swaps = log.read_text(errors="replace").count("makes room")
        print(f"{swaps} models made room for others")
        if not well:
            print(log.read_text(errors="replace")[-5000:])
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
