"""What one run takes at each size: in a plan for the range, tuned for sizes, and fixed to each.

python bench/sizes.py --json sizes.json --plot plots
python bench/sizes.py --model resnet50 vit_b_16 text --sizes 1 8 32

Sizes are batches, or the text encoder's tokens. `infer(cuda, out=cuda)`, which waits for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from measure import Contestant, LeftOutError, open_engine
from models import Network
from networks import chosen
from options import add_models, add_plot, arguments
from plans import fixed_plan, range_plan, tuned_plan
from plots import draw
from report import Report
from subject import on_device

import fasttrt

RANGE, TUNED, FIXED = "range", "tuned", "fixed"
PLANS = (RANGE, TUNED, FIXED)
SLOWER = 1.05  # than the fixed plan, at most
BUILDS = 4  # side by side


class Engines:
    """Of one network: a plan for all sizes has one for good, a fixed plan one for its size."""

    def __init__(
        self, network: Network, device: str, wanted: Sequence[str], sizes: Sequence[int]
    ) -> None:
        """Build all plans side by side, and open those that serve all sizes."""
        self.network, self.device = network, device
        with ThreadPoolExecutor(BUILDS) as pool:
            lasting = {
                name: pool.submit(make, network, device)
                for name, make in ((TUNED, tuned_plan), (RANGE, range_plan))
                if name in wanted
            }
            fixed = {
                size: pool.submit(fixed_plan, network, device, size)
                for size in (sizes if FIXED in wanted else ())
            }
        self._lasting = {name: self._open(plan.result()) for name, plan in lasting.items()}
        self._fixed = {size: plan.result() for size, plan in fixed.items()}

    def at(self, size: int) -> dict[str, fasttrt.Engine]:
        """All that run this size; whoever asks closes the fixed one."""
        found = dict(self._lasting)
        if size in self._fixed:
            found[FIXED] = self._open(self._fixed[size])
        return found

    def close(self) -> None:
        """Close those that last."""
        for engine in self._lasting.values():
            engine.close()

    def _open(self, plan: Any) -> fasttrt.Engine:
        return open_engine(self.network, plan, self.device, contexts=1)


def contestants(network: Network, engines: dict[str, Any], xs: Any, right: Any) -> list[Contestant]:
    """`infer` of each engine, on the GPU if it is there."""
    if all(engine.device == "cpu" for engine in engines.values()):
        return [Contestant(name, engine.infer, xs) for name, engine in engines.items()]
    found = []
    for name, engine in engines.items():
        dtypes = [spec.dtype for spec in engine.outputs]
        ys = [tuple(y.astype(d) for y, d in zip(all_y, dtypes, strict=True)) for all_y in right]
        found.append(on_device(name, engine.infer, xs, ys))
    return found


def measure(report: Report, make: Callable[[], Network], wanted: tuple[str, ...]) -> None:
    """All sizes of one network, in turns at each size."""
    options = report.options
    network = make()
    sizes = [size for size in options.sizes or network.sizes if size in network.sizes]
    if not sizes:
        raise LeftOutError(f"{network.name} is tuned for {network.sizes}, none of --sizes")
    rounds, runs = (3, 60) if options.quick else (5, 100)
    if options.device == "cpu":
        sizes, rounds, runs = sizes[:2], 2, 2
    engines = Engines(network, options.device, wanted, sizes)
    medians: dict[str, dict[int, float]] = {name: {} for name in wanted}
    slowest = 0.0
    for size in sizes:
        start = report.elapsed
        if start + slowest > options.budget:
            report.leave_out(f"{network.name} at {size} and more", f"--budget {options.budget:.0f}")
            break
        running = engines.at(size)
        xs, right = network.inputs(size, 3)
        runners = contestants(network, running, xs, right)
        stats = report.compete(network, runners, right, rounds, runs, size)
        for name, found in stats.items():
            medians[name][size] = found.median
        if FIXED in running:
            running[FIXED].close()
        slowest = max(slowest, report.elapsed - start)
    engines.close()
    show(report, network, medians)


def show(report: Report, network: Network, medians: dict[str, dict[int, float]]) -> None:
    """A line for each plan, its targets and its plot."""
    print(f"\n{network.name}, infer(cuda, out=cuda), median us by {network.unit} (x of fixed)")
    fixed = medians.get(FIXED, {})
    for name, times in medians.items():
        cells = [
            f"{size}: {us:.0f}" + (f" ({us / fixed[size]:.2f})" if size in fixed else "")
            for size, us in times.items()
        ]
        print(f"{name:8} {'  '.join(cells)}")
    for size, us in medians.get(TUNED, {}).items():
        text = f"{network.name}, {size} {network.unit}: tuned / fixed plan"
        got = us / fixed[size] if size in fixed and report.options.device != "cpu" else None
        report.target("tuned sizes", text, got=got, limit=SLOWER, most=True)
    if report.options.plot is not None:
        path = report.options.plot / f"sizes-{network.slug}.png"
        lines = {f"{name} plan": list(times.items()) for name, times in medians.items()}
        labels = (f"{network.name} ({report.gpu})", network.unit, "infer(cuda, out=cuda), us")
        report.attempt("plot", draw, path, lines, *labels)


def main() -> int:
    """All networks that are asked for."""
    parser = arguments(__doc__, budget=240)
    add_models(parser, "resnet50 vit_b_16 text")
    add_plot(parser)
    parser.add_argument("--sizes", type=int, nargs="+", help="all of the network's if not given")
    parser.add_argument("--plans", nargs="+", default=PLANS, choices=PLANS)
    report = Report("sizes", parser.parse_args())
    for name, make in chosen(report.options).items():
        report.run(name, measure, report, make, tuple(report.options.plans))
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
