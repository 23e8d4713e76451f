"""Requests from many clients at once: their rate and latency, beside the best that is possible.

python bench/concurrency.py --json concurrency.json --plot plots
python bench/concurrency.py --cases small batching --model resnet50
python bench/concurrency.py --cases ways --batching 2:100:8,16   # contexts:delay:sizes
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from typing import Any

import models
from batched import Times, batched, time_batches
from closed_loop import Scale
from first_second import CACHED, COLD, OPENING, first_second
from gpus import parse_devices, several_gpus
from measure import LeftOutError
from models import Network
from networks import chosen
from options import add_models, add_plot, arguments
from plans import default_plan, tuned_plan
from report import Report
from rival_load import rival_load
from small_requests import small_requests
from sweep import sweep
from ways import Way, add_batching, default_way


class Bench:
    """A network with what several cases need of it, each made when it is first asked for."""

    def __init__(self, report: Report, name: str, make: Callable[[], Network]) -> None:
        """Make nothing yet."""
        self.report, self.name, self._make = report, name, make
        self.device = report.options.device
        self.ways: list[Way] = report.options.batching or [default_way()]

    @functools.cached_property
    def network(self) -> Network:
        """Exported if need be."""
        return self._make()

    @functools.cached_property
    def plan(self) -> Any:
        """As it comes."""
        return default_plan(self.network, self.device)

    @functools.cached_property
    def times(self) -> Times | None:
        """What the best batcher could build on; None without a GPU."""
        if self.device == "cpu":
            return None
        return time_batches(self.report, self.network, tuned_plan(self.network, self.device))

    def small(self) -> None:
        """The MLP: threads, tasks, submit."""
        small_requests(self.report, models.mlp, [Way(), default_way()])

    def batching(self) -> None:
        """Threads and tasks of one sample, gathered, in plans as they come and tuned."""
        rounds = 3 if self.report.options.quick else 5
        scale = Scale(rounds, 0.4, 0) if self.device != "cpu" else Scale(2, 0.1, 0)
        for way in self.ways:
            batched(self.report, self.network, self.plan, way, self.times, scale)

    def first(self) -> None:
        """The first second after opening, with a cache that is empty, and then is not."""
        for contexts in OPENING:
            way = default_way()._replace(contexts=contexts)
            with tempfile.TemporaryDirectory() as folder:
                for opened in (COLD, CACHED):
                    case = (self.report, self.network, self.plan, way, folder, opened)
                    self.report.attempt(f"{way}, {opened}", first_second, *case)

    def devices(self) -> None:
        """One GPU and several."""
        for way in self.ways:
            several_gpus(self.report, self.network, self.plan, way, self.report.options.devices)

    def rivals(self) -> None:
        """Other runtimes."""
        if self.device == "cpu":
            raise LeftOutError("they need a GPU")
        rival_load(self.report, self.network)

    def sweep(self) -> None:
        """Many ways to gather."""
        sweep(self.report, self.name, self.network)


CASES = {
    "small": Bench.small,
    "batching": Bench.batching,
    "first": Bench.first,
    "devices": Bench.devices,
    "rivals": Bench.rivals,
    "ways": Bench.sweep,
}


def main() -> int:
    """All cases that are asked for, with one network."""
    parser = arguments(__doc__, budget=180)
    add_models(parser, "resnet50")
    add_plot(parser)
    add_batching(parser)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument(
        "--devices", type=parse_devices, default=[0], metavar="0,1", help="GPUs of the case devices"
    )
    options = parser.parse_args()
    makers = chosen(options)
    if len(makers) != 1:
        parser.error("--model: one at a time")
    report = Report("concurrency", options)
    ((name, make),) = makers.items()
    bench = Bench(report, name, make)
    for case in options.cases:
        if report.elapsed > options.budget:
            report.leave_out(case, f"--budget {options.budget:.0f}")
        else:
            report.run(f"{case}, {name}", CASES[case], bench)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
