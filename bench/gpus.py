"""One engine on several GPUs, beside the same on one: what so many requests in flight get."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from closed_loop import Rates, Scale, checker, drive, drive_submits, drive_tasks
from insight import insight
from measure import LeftOutError, open_engine
from models import Network
from report import Report
from ways import Way, show, warm_up

IN_FLIGHT = (64, 128)
OTHERS = 0  # in shares: all other numbers of GPUs
SHARES = {2: 1.9 / 2, OTHERS: 3.7 / 4}  # of one GPU's rate, for each GPU


def parse_devices(text: str) -> list[int]:
    """Read ``0,1``."""
    return [int(part) for part in text.split(",")]


def counts(devices: Sequence[int]) -> list[int]:
    """How many of the GPUs are compared: 1, 2, 4 and so on, and all."""
    powers = [1 << i for i in range(len(devices)) if 1 << i < len(devices)]
    return [*powers, len(devices)]


def device_of(report: Report, devices: Sequence[int]) -> str:
    """The device of an engine on these GPUs, or the CPU."""
    return "cpu" if report.options.device == "cpu" else f"cuda:{','.join(map(str, devices))}"


def judge(
    report: Report, title: str, what: str, count: int, ratio: float, shares: Mapping[int, float]
) -> None:
    """Print whether several GPUs bring enough, by the ratio of their rate to that of one."""
    if count > 1 or report.options.device == "cpu":
        limit = shares.get(count, shares[OTHERS])
        text = f"{what} / one GPU's / GPUs"
        report.gpu_target(
            f"{title}, {count} GPUs", text, got=ratio / count, limit=limit, most=False
        )


def several_gpus(report: Report, network: Network, plan: Any, way: Way, devices: list[int]) -> None:
    """Threads, tasks and `submit`, on the first GPU, on two, four and so on, and on all.

    Raises:
        LeftOutError: there is only one.
    """
    on_gpu = report.options.device != "cpu"
    if on_gpu and len(devices) < 2:
        raise LeftOutError("--devices names one GPU")
    rates = {
        count: measure(report, network, plan, way, devices[:count]) for count in counts(devices)
    }
    for count, in_flight in itertools.product(counts(devices), IN_FLIGHT):
        ratio = max(rates[count][in_flight]) / max(rates[1][in_flight])
        report.value(f"{network.name}: {count} GPUs / one, {in_flight} requests", ratio, "x")
        what = f"{network.name}, {in_flight} in flight: requests/s"
        judge(report, str(way), what, count, ratio, SHARES)


def measure(
    report: Report, network: Network, plan: Any, way: Way, devices: list[int]
) -> dict[int, list[float]]:
    """Requests a second by the number in flight: of threads, tasks and `submit`."""
    on_gpu = report.options.device != "cpu"
    device = device_of(report, devices)
    rounds = 3 if report.options.quick else 5
    scale, warm = (Scale(rounds, 0.4, 0), 0.3) if on_gpu else (Scale(2, 0.1, 0), 0.05)
    rates: dict[int, list[float]] = {}
    with open_engine(network, plan, device, **way.options) as engine:
        xs, right = network.inputs(1, 64 if on_gpu else 2)
        check = checker(network, right, "several GPUs")
        if on_gpu:
            warm_up(report, engine, xs, check)
        case = f"{len(devices)} GPUs"
        loads: list[tuple[str, Callable[..., Rates], Callable[..., Any]]] = [
            ("threads", drive, engine.infer),
            ("tasks", drive_tasks, engine.ainfer),
            ("in flight", drive_submits, engine.submit),
        ]
        for count in IN_FLIGHT:
            found = {}
            for kind, load, call in loads:
                with insight(report, engine, f"{case}, {count} {kind}"):
                    found[kind] = load(call, xs, count, scale, warm, check)
            for kind, one in found.items():
                show(report, network, case, f"{way}, {device}", count, one, kind)
            rates[count] = [one.median for one in found.values()]
    return rates
