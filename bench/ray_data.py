"""What a row costs in Ray Data beside `Engine.map` over the same data, and what more GPUs bring.

python bench/ray_data.py --json ray.json
python bench/ray_data.py --device cpu --quick          # tries it out
python bench/ray_data.py --actors 1,2                  # on two GPUs

It is not named ray.py, which ``import ray`` would find here.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
import ray
import ray.data
from measure import LeftOutError
from models import Array, Network
from networks import chosen
from options import add_models, arguments
from report import Report

import fasttrt
import fasttrt.ray
from fasttrt import _core

KIB, MIB = 1 << 10, 1 << 20
BATCHES = {"64 KB": 64 * KIB, "1 MB": MIB, "16 MB": 16 * MIB}
BLOCK = 128 * MIB  # the largest that Ray makes by default
CPU_BLOCK = 32 * MIB  # of which a processor computes one in a second
BLOCKS = 2  # that take turns
ID_BYTES = 8  # of a row's number
MOST_BLOCKS = 400  # of a round
CHECKED = 32  # rows of each block
CHOSEN, NOTHING = "rows at once as predict chooses", "computing nothing"
OVERHEAD = 1.1  # of Engine.map's time, at most
SCALING = 1.9  # of two GPUs, at least
STARTING = 1.0
"""Seconds in which Ray Data (2.60) does not know what the cluster has.

It then gives each actor its first blocks, and when they are done, one block at a time to all actors
together, as though there were no memory (`GLOBAL_LIMITS_UPDATE_INTERVAL_S`). Every dataset takes
this once, however long it is.
"""


@dataclass
class Data:
    """Blocks of rows, here and in Ray's object store."""

    network: Network
    blocks: list[Array]
    right: list[Array]
    """Of the first rows of each block."""
    refs: list[Any] = field(default_factory=list)

    @classmethod
    def draw(cls, network: Network, nbytes: int) -> Data:
        """Draw rows, and have them numbered in the object store, in blocks of so many bytes."""
        (row,) = network.draw(1)
        rows = max(1, nbytes // (row.nbytes + ID_BYTES))
        blocks = [network.draw(rows)[0] for _ in range(BLOCKS)]
        right = [np.asarray(network.reference(block[:CHECKED])) for block in blocks]
        data = cls(network, blocks, right)
        for number, block in enumerate(blocks):
            first = number * len(block)
            columns = ray.data.from_numpy(block).map_batches(
                lambda batch, first=first: {
                    "x": batch["data"], "id": first + np.arange(len(batch["data"]))
                }, batch_size=None,
            )  # fmt: skip
            data.refs += columns.to_arrow_refs()
        return data

    @property
    def rows(self) -> int:
        """Of a block."""
        return len(self.blocks[0])

    def batches(self, size: int, blocks: int) -> list[Array]:
        """Batches of so many rows of so many blocks."""
        return [
            self.blocks[i % BLOCKS][begin : begin + size]
            for i in range(blocks)
            for begin in range(0, self.rows, size)
        ]

    def dataset(self, blocks: int) -> Any:
        """So many blocks, without a copy."""
        refs = itertools.islice(itertools.cycle(self.refs), blocks)
        return ray.data.from_arrow_refs(list(refs))

    def check(self, who: str, ids: Array, y: Array) -> int:
        """Compare what is known of a part of the results; how many rows that is."""
        found = 0
        for number, right in enumerate(self.right):
            places = ids - number * self.rows
            known = (places >= 0) & (places < len(right))
            if known.any():
                self.network.check(who, y[known], (right[places[known]],))
                found += int(known.sum())
        return found


def time_map(engine: fasttrt.Engine, data: Data, size: int, blocks: int) -> float:
    """Microseconds of a row in `Engine.map`; all results are read."""
    batches = data.batches(size, blocks)
    start = time.perf_counter()
    first = next(results := engine.map(batches))
    count = len(first) + sum(len(y) for y in results)
    took = time.perf_counter() - start
    if count != blocks * data.rows:
        raise RuntimeError(f"{count} results of {blocks * data.rows} rows")
    data.check("Engine.map", np.arange(len(first)), first)
    return 1e6 * took / count


class Nothing:
    """Computes nothing, to show what Ray takes for itself."""

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Return a number for each row."""
        numbers = pyarrow.array(np.zeros(len(batch), np.float32))
        return batch.select(["id"]).append_column("y", numbers)


@dataclass
class Streamed:
    """What a run through Ray took."""

    us_a_row: float
    """After Ray's first second, in which it does not know the cluster yet: see `STARTING`."""
    start: float
    """Seconds until the first result."""


def passed_on(dataset: Any, actors: int) -> Any:
    """The dataset through as many actors that compute nothing, in a pool as `predict`'s."""
    pool = ray.data.ActorPoolStrategy(
        size=actors, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True,
        max_tasks_in_flight_per_actor=8,
    )  # fmt: skip
    return dataset.map_batches(
        Nothing, batch_format="pyarrow", batch_size=None, zero_copy_batch=True, compute=pool
    )


def time_ray(
    data: Data, through: Callable[[Any], Any], blocks: int, ahead: int, *, checks: bool = True
) -> Streamed:
    """Stream the blocks through actors; all results are read, those that are known checked.

    As many blocks as `ahead` come before those that are timed.
    """
    begin = time.perf_counter()
    found = through(data.dataset(blocks + ahead))
    times, counts, checked = [], [], 0
    for batch in found.iter_batches(batch_size=None, prefetch_batches=0):
        times.append(time.perf_counter())
        counts.append(len(batch["id"]))
        if checks:
            checked += data.check("Ray", batch["id"], batch["y"])
    if sum(counts) != (blocks + ahead) * data.rows or (checks and not checked):
        raise RuntimeError(f"{sum(counts)} rows, expected {(blocks + ahead) * data.rows}")
    skipped = next(i for i, n in enumerate(itertools.accumulate(counts)) if n >= ahead * data.rows)
    if skipped == len(counts) - 1:
        raise RuntimeError(f"{len(counts)} results, none of them after the first {ahead} blocks")
    steady = times[-1] - times[skipped]
    return Streamed(1e6 * steady / sum(counts[skipped + 1 :]), times[0] - begin)


class Bench:
    """Times `Engine.map` and Ray in turns."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report, self.folder = report, folder
        self.on_gpu = report.options.device != "cpu"
        self.rounds = 2 if report.options.quick else 3
        self.seconds = 5.0 if self.on_gpu else 1.0  # of a round

    def blocks(self, engine: fasttrt.Engine, data: Data, size: int) -> tuple[int, int]:
        """How many blocks of an actor are timed, and how many come before."""
        time_map(engine, data, size, 1)
        each = 1e-6 * data.rows * time_map(engine, data, size, 1)
        blocks = min(MOST_BLOCKS, max(4, int(self.seconds / each)))
        return blocks, min(MOST_BLOCKS, max(2, math.ceil(STARTING / each)))

    def options(self, network: Network, size: int) -> dict[str, Any]:
        """Of the engine: batches of at most this size, for which a plan is tuned."""
        (row,) = network.draw(1)
        shapes = {"x": ((1, *row.shape[1:]), (size, *row.shape[1:]), (size, *row.shape[1:]))}
        device = self.report.options.device  # "cuda" is the one that an actor sees
        return {"device": device, "shapes": shapes, "cache": self.folder / "cache"}

    def predict(
        self, model: Path, size: int | None, actors: int, options: dict[str, Any]
    ) -> Callable[[Any], Any]:
        """`fasttrt.ray.predict` of a dataset."""
        return lambda dataset: fasttrt.ray.predict(
            dataset, model, batch_size=size, concurrency=actors, **options
        )

    def save(self, network: Network) -> Path:
        """The model as a file, as `fasttrt.ray.predict` takes it."""
        if isinstance(network.model, Path):
            return network.model
        path = self.folder / f"{network.slug}.onnx"
        onnx.save(network.model, path)
        return path

    def overhead(self, data: Data, name: str, size: int, target: bool) -> None:
        """The overhead of a row in the engine's batches of a size.

        An actor gets as many rows at once as `predict` chooses, or just a batch. A class that
        computes nothing shows what is Ray's own.
        """
        network = data.network
        model, options = self.save(network), self.options(network, size)
        mapped: list[float] = []
        ways = {
            CHOSEN: self.predict(model, None, 1, options),
            "a batch at once": self.predict(model, size, 1, options),
            NOTHING: lambda dataset: passed_on(dataset, 1),
        }
        streamed: dict[str, list[Streamed]] = {way: [] for way in ways}
        with fasttrt.Engine(model, progress=False, **options) as engine:
            blocks, ahead = self.blocks(engine, data, size)
            for i in range(self.rounds):
                if i % 2 == 0:
                    mapped.append(time_map(engine, data, size, blocks))
                for way, through in ways.items():
                    one = time_ray(data, through, blocks, ahead, checks=way != NOTHING)
                    streamed[way].append(one)
                if i % 2 == 1:
                    mapped.append(time_map(engine, data, size, blocks))
        middle = statistics.median(mapped)
        print(
            f"{network.name}, batches of {name} ({size} rows), {blocks} blocks of {data.rows}:\n"
            f"Engine.map {middle:.2f} us a row, {middle * size:.0f} a batch; "
            f"rounds {_shown(mapped)}"
        )
        self.report.row(network=network.name, batch=name, rows=size, case="map", us_a_row=mapped)
        for way, ones in streamed.items():
            times = [one.us_a_row for one in ones]
            share = statistics.median(times) / middle
            start = statistics.median(one.start for one in ones)
            print(
                f"Ray, {way}: {share * middle:.2f} us a row, {share * middle * size:.0f} a batch, "
                f"{100 * (share - 1):+.1f} %; rounds {_shown(times)}; the start took {start:.1f} s"
            )
            self.report.row(
                network=network.name, batch=name, rows=size, case=way, us_a_row=times, start=start
            )
            if target and way == CHOSEN:
                what = f"{network.name}, batches of {name}: time of a row / Engine.map's"
                self.report.target("Ray Data", what, got=share, limit=OVERHEAD, most=True)

    def scaling(self, data: Data, name: str, size: int, actors: Sequence[int]) -> None:
        """Several actors beside one, each with a GPU of its own."""
        if self.on_gpu and max(actors) > _core.device_count():
            raise LeftOutError(f"--actors {max(actors)}: {_core.device_count()} GPUs")
        network = data.network
        model, options = self.save(network), self.options(network, size)
        found: dict[int, list[float]] = {count: [] for count in actors}
        starts = []
        with fasttrt.Engine(model, progress=False, **options) as engine:
            blocks, ahead = self.blocks(engine, data, size)
        for i in range(self.rounds):
            for count in actors if i % 2 == 0 else reversed(actors):
                through = self.predict(model, None, count, options)
                one = time_ray(data, through, blocks * count, ahead * count)
                found[count].append(one.us_a_row)
                starts.append(one.start)
        base = statistics.median(found[actors[0]])
        for count, times in found.items():
            middle = statistics.median(times)
            ratio = base / middle
            print(
                f"{network.name}, batches of {name}, {count} actors: {1e6 / middle:.0f} rows/s, "
                f"{ratio:.2f} of {actors[0]}; us a row in rounds {_shown(times)}"
            )
            self.report.row(network=network.name, batch=name, actors=count, us_a_row=times)
            if count == 2 and actors[0] == 1:
                self.report.gpu_target(
                    "Ray Data, two GPUs", f"{network.name}, batches of {name}: rate / one actor's",
                    got=ratio, limit=SCALING, most=False,
                )  # fmt: skip
        print(f"first results after {_shown(starts)} s")


def _shown(values: Sequence[float]) -> str:
    return "/".join(f"{value:.2f}" for value in values)


def start_ray(options: argparse.Namespace) -> None:
    """A Ray of this machine alone; actors find fasttrt where it was found here."""
    package = str(Path(fasttrt.__file__).parents[1])
    gpus = _core.device_count() if options.device != "cpu" else 0
    ray.init(
        address="local", num_gpus=gpus, include_dashboard=False, log_to_driver=False,
        object_store_memory=2 << 30, runtime_env={"env_vars": {"PYTHONPATH": package}},
    )  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK if options.device != "cpu" else CPU_BLOCK
    context.wait_for_min_actors_s = 300  # so that all are there when the time begins


def main() -> int:
    parser = arguments(__doc__, budget=240)
    parser.add_argument(
        "--actors", type=lambda text: [int(part) for part in text.split(",")], default=[1],
        metavar="1,2", help="how many actors, each with a GPU: compares the rates of these numbers",
    )  # fmt: skip
    parser.add_argument("--batches", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    add_models(parser, "convnet elementwise")
    options = parser.parse_args()
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    report = Report("ray_data", options)
    start_ray(options)
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure_all(report, Path(folder))
    finally:
        ray.shutdown()
    return report.finish()


def measure_all(report: Report, folder: Path) -> None:
    options, bench = report.options, Bench(report, folder)
    batches = ["1 MB"] if options.quick else options.batches
    for title, make in chosen(options).items():
        size = BLOCK if bench.on_gpu else CPU_BLOCK
        data = report.run(f"{title}: data", lambda make=make, size=size: Data.draw(make(), size))
        if data is None:
            continue
        is_real = title != "elementwise"
        nbytes = data.blocks[0][0].nbytes
        for name in batches:
            size = max(1, BATCHES[name] // nbytes)
            target = is_real and name == "1 MB"
            case = (data, name, size, target)
            needs = 0 if name == "1 MB" else 35
            report.run(f"{title}, batches of {name}", bench.overhead, *case, needs=needs)
        if len(options.actors) > 1 and is_real:
            size = max(1, MIB // nbytes)
            report.run(f"{title}, actors", bench.scaling, data, "1 MB", size, options.actors)


if __name__ == "__main__":
    raise SystemExit(main())
