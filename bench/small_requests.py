"""What a request costs beside the GPU: a network so small that all its time is overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closed_loop import Scale, anew, checker, drive, drive_submits, drive_tasks
from measure import Contestant, build, open_engine
from models import Network
from report import Report
from ways import Way, show, warm_up

TASKS = (1, 64, 128)
DEPTHS = (1, 8, 64)
THREADS = (1, 32)
RATE_OF_TASKS, RATE_OF_SUBMITS = 60_000, 100_000  # a second
SLOWER = 25.0  # us: a task's request than `infer`


def small_requests(report: Report, make: Callable[[], Network], ways: list[Way]) -> None:
    """Threads, tasks of an event loop and `submit`, with batching and without."""
    network = make()
    plan = build(network, report.options.device)
    best: dict[str, float] = {}
    for way in ways:
        found = measure(report, network, plan, way)
        for name, value in found.items():
            best[name] = max(best.get(name, 0.0), value)
    for name, limit in (("tasks 128", RATE_OF_TASKS), ("submit 64", RATE_OF_SUBMITS)):
        text = f"{network.name}: requests/s"
        report.gpu_target(name, text, got=best.get(name), limit=limit, most=False)


def measure(report: Report, network: Network, plan: Any, way: Way) -> dict[str, float]:
    """Requests a second by the kind and number of clients."""
    device = report.options.device
    on_gpu = device != "cpu"
    scale = Scale(5 if report.options.quick else 9, 0.1, 0) if on_gpu else Scale(2, 0.05, 0)
    warm = 0.1 if on_gpu else 0.05
    rates: dict[str, float] = {}
    with open_engine(network, plan, device, **way.options) as engine:
        xs, right = network.inputs(1, 32)
        check = checker(network, right, "small requests")
        if on_gpu:
            warm_up(report, engine, xs, check)
        calls = [Contestant("infer(numpy)", engine.infer, xs)]
        stats = report.compete(network, calls, right, 3, 1000 if on_gpu else 20)
        alone = stats["infer(numpy)"].median
        for count in THREADS:
            found = anew(drive, engine.infer, xs, count, scale, warm, check)
            show(report, network, "infer", str(way), count, found)
            rates[f"threads {count}"] = found.median
        for count in TASKS:
            found = anew(drive_tasks, engine.ainfer, xs, count, scale, warm, check)
            stats_of_task = show(report, network, "ainfer", str(way), count, found, "tasks")
            rates[f"tasks {count}"] = found.median
            if count == 1 and way.batching is None:
                text = f"{network.name}, one task: median - infer's (us)"
                more = stats_of_task.median - alone
                report.gpu_target("ainfer", text, got=more, limit=SLOWER, most=True)
        for depth in DEPTHS:
            found = anew(drive_submits, engine.submit, xs, depth, scale, warm, check)
            show(report, network, "submit", str(way), depth, found, "in flight")
            rates[f"submit {depth}"] = found.median
    return rates
