"""What a request costs through Ray Serve beside `Engine.ainfer`, and HTTP beside `fasttrt serve`.

python bench/ray_serve.py --json ray_serve.json
python bench/ray_serve.py --device cpu --quick         # tries it out

All in turns: a request at a time, and as many at once as clients keep under way.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import ray
from models import Network, mlp
from options import arguments
from ray import serve
from report import Report
from served import Exchange, binary, free_port
from wrk import wrk

import fasttrt
import fasttrt.ray
from fasttrt import _core

CLIENTS = (1, 64)
ROUNDS = 3


class Measured(NamedTuple):
    """A way's rate, and the median time of its requests."""

    rate: float
    median_us: float


async def keep_asking(ask: Callable[[], Awaitable[Any]], clients: int, seconds: float) -> Measured:
    """Keep so many requests under way."""
    times: list[float] = []
    start = time.perf_counter()

    async def client() -> None:
        while (begin := time.perf_counter()) < start + seconds:
            await ask()
            times.append(time.perf_counter() - begin)

    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - start
    return Measured(len(times) / took, 1e6 * statistics.median(times))


class Nothing:
    """A deployment that has nothing to do, for what Serve itself costs."""

    async def __call__(self, x: Any) -> Any:
        """Give it back."""
        return x


class Bench:
    """Two servers, a handle and an engine, all with the same model and options."""

    def __init__(self, report: Report, network: Network) -> None:
        self.report, self.network = report, network
        self.seconds = 1 if report.options.quick else 3
        (self.x,) = network.draw(1)
        device = report.options.device
        options: dict[str, Any] = {"device": device}
        if device != "cpu":
            options["batching"] = fasttrt.Batching(32)
        model = network.model
        self.engine = fasttrt.Engine(model, progress=False, **options)
        self.port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": self.port})
        quiet: dict[str, Any] = {"logging_config": {"enable_access_log": False}}
        app = fasttrt.ray.deployment(model, name="m", serve_options=quiet, **options)
        self.handle = serve.run(app, name="bench", route_prefix="/")
        nothing = serve.deployment(max_ongoing_requests=64, **quiet)(Nothing)
        self.nothing = serve.run(nothing.bind(), name="nothing", route_prefix=None)
        self.server = fasttrt.serve(
            {"m": self.engine}, http_port=0, grpc_port=None, metrics_port=None
        )

    def close(self) -> None:
        """End all."""
        serve.shutdown()
        self.server.close()
        self.engine.close()

    def check(self) -> None:
        """Compare an answer of each with the reference."""
        right = self.network.reference(self.x)
        self.network.check("ainfer", asyncio.run(self._once(self.engine.ainfer)), (right,))
        self.network.check("handle", asyncio.run(self._once(self.handle.remote)), (right,))

    async def _once(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        return await ask(self.x)

    def ways(self) -> dict[str, Callable[[int], Measured]]:
        """What is measured, of so many clients."""
        exchange = binary(self.x)

        def asking(ask: Callable[[Any], Awaitable[Any]]) -> Callable[[int], Measured]:
            return lambda clients: asyncio.run(
                keep_asking(lambda: ask(self.x), clients, self.seconds)
            )

        return {
            "await engine.ainfer(x)": asking(self.engine.ainfer),
            "await handle.remote(x)": asking(self.handle.remote),
            "the same, nothing to do": asking(self.nothing.remote),
            "HTTP, fasttrt.serve": lambda clients: self._http(
                self.server.http_port, exchange, clients
            ),
            "HTTP, Ray Serve": lambda clients: self._http(self.port, exchange, clients),
        }

    def _http(self, port: int, exchange: Exchange, clients: int) -> Measured:
        load = wrk(port, exchange, clients, self.seconds)
        return Measured(load.rate, load.p50_us)

    def compare(self, clients: int) -> None:
        """All ways, in turns."""
        ways = self.ways()
        found: dict[str, list[Measured]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, measure in ways.items():
                one = measure(clients)
                if number:  # the first warms up
                    found[name].append(one)
        for name, ones in found.items():
            rate = statistics.median(one.rate for one in ones)
            median = statistics.median(one.median_us for one in ones)
            rates = "/".join(f"{one.rate:.0f}" for one in ones)
            print(f"{name:24} {rate:8.0f} requests/s ({rates}), median {median:.0f} us")
            self.report.row(way=name, clients=clients, rate=rate, median_us=median)


def main() -> int:
    report = Report("ray_serve", arguments(__doc__, budget=120).parse_args())
    package = str(Path(fasttrt.__file__).parents[1])
    on_gpu = report.options.device != "cpu"
    ray.init(
        address="local", num_gpus=_core.device_count() if on_gpu else 0, include_dashboard=False,
        log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": package}},
    )  # fmt: skip
    try:
        bench = Bench(report, mlp())
        try:
            report.run("answers", bench.check)
            for clients in CLIENTS:
                report.run(f"{clients} clients", bench.compare, clients)
        finally:
            bench.close()
    finally:
        ray.shutdown()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
