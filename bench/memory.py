"""Memory after many engines opened, run and closed, and after many requests: it has to stay flat.

python bench/memory.py                                 # 1,000 engines, 100,000 requests
python bench/memory.py --engines 100 --requests 0

Prints the device's free memory and this process's resident memory after each tenth. Exits with 1 if
an answer was wrong, or if the second half's most in use is 16 MiB of device memory or 8 MiB of host
memory above the first half's.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import models
from models import Network
from soak import DEVICE_LIMIT, MIB, Memory, measure, show

import fasttrt

HOST_LIMIT = 8 << 20
CLIENTS = 64


def tenths(name: str, count: int, device: str, work: Callable[[int], None]) -> list[Memory]:
    """Do so much work, in tenths after one to warm up, and measure after each."""
    work(max(count // 10, 1))
    show(f"{name}: warm", measure(device))
    points = []
    start = time.perf_counter()
    for tenth in range(1, 11):
        work(count * tenth // 10 - count * (tenth - 1) // 10)
        points.append(measure(device))
        show(f"{count * tenth // 10} {name}", points[-1])
    print(f"{count / (time.perf_counter() - start):.0f} {name} a second")
    return points


def problems(name: str, points: list[Memory]) -> list[str]:
    """What grew."""
    first, second = points[:5], points[5:]
    lost = min(p.device_free for p in first) - min(p.device_free for p in second)
    grown = max(p.resident for p in second) - max(p.resident for p in first)
    found = []
    if lost > DEVICE_LIMIT:
        found.append(f"{name}: {lost / MIB:.1f} MiB of device memory lost")
    if grown > HOST_LIMIT:
        found.append(f"{name}: {grown / MIB:.1f} MiB of host memory lost")
    return found


class Requests:
    """All kinds of requests to one engine, with every answer checked."""

    def __init__(self, network: Network, engine: fasttrt.Engine) -> None:
        """Draw inputs and compute the right answers."""
        self.network, self.engine = network, engine
        self.xs, self.right = network.inputs(1, CLIENTS)

    def check(self, y: Any, index: int) -> None:
        """Compare with the right answer."""
        self.network.check("a request", y, self.right[index])

    def send(self, count: int) -> None:
        """A third each by threads, by tasks and by `submit`."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            for index, y in enumerate(pool.map(self._infer, range(count // 3))):
                self.check(y, index % CLIENTS)
        asyncio.run(self._tasks(count // 3))
        ahead: deque[tuple[int, Future[Any]]] = deque()
        for sent in range(count - 2 * (count // 3)):
            index = sent % CLIENTS
            ahead.append((index, self.engine.submit(*self.xs[index])))
            if len(ahead) >= CLIENTS:
                self._finish(*ahead.popleft())
        while ahead:
            self._finish(*ahead.popleft())

    def _infer(self, index: int) -> Any:
        return self.engine.infer(*self.xs[index % CLIENTS])

    def _finish(self, index: int, future: Future[Any]) -> None:
        self.check(future.result(), index)

    async def _tasks(self, count: int) -> None:
        async def client(index: int) -> None:
            for _ in range(count // CLIENTS):
                self.check(await self.engine.ainfer(*self.xs[index]), index)

        await asyncio.gather(*map(client, range(CLIENTS)))


class Opener:
    """Opens engines of one network, and closes them."""

    def __init__(self, network: Network, device: str) -> None:
        """Build a plan where there is a GPU."""
        self.network, self.device = network, device
        self.source = network.model
        if device != "cpu":
            self.source = fasttrt.build(network.model, shapes=network.shapes(), progress=False)
        (self.xs,), (self.right,) = network.inputs(1, 1)

    def open(self, **options: Any) -> fasttrt.Engine:
        """Another engine."""
        return fasttrt.Engine(self.source, device=self.device, **options)

    def open_and_close(self, count: int) -> None:
        """One after the other, each run twice, so that a graph is recorded."""
        for _ in range(count):
            with self.open() as engine:
                for _ in range(2):
                    self.network.check("an engine", engine.infer(*self.xs), self.right)


def main() -> int:
    """Measure engines, then requests without batching and with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    opener = Opener(models.mlp(), options.device)
    found = []
    if options.engines:
        points = tenths("engines", options.engines, options.device, opener.open_and_close)
        found += problems("engines", points)
    batching = {"batching": fasttrt.Batching(models.LARGEST_BATCH)}
    kinds: dict[str, dict[str, Any]] = {"requests": {}, "batched requests": batching}
    for name, more in kinds.items() if options.requests else ():
        with opener.open(**more) as engine:
            requests = Requests(opener.network, engine)
            points = tenths(name, options.requests // 2, options.device, requests.send)
            found += problems(name, points)
    print("\n".join(found) or "flat")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
