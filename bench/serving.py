r"""`fasttrt serve` beside other servers of ONNX models, over HTTP.

python bench/serving.py --device cpu \\
    --python mlserver=a/bin/python --python kserve=b/bin/python \\
    --python litserve=c/bin/python --python granian=d/bin/python

Each server runs in a process of its own, in the Python that has it, with the same models: an
identity of 3 KB, and the MLP. They take turns in rounds; wrk is the client. What counts is the
processor time of all processes of a server for each request: on a machine whose cores the client
shares, requests a second say little. Every server's answers are compared with numpy's before and
after.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import models  # noqa: F401 -- finds the next
import numpy as np
from options import arguments
from report import Report
from served import KINDS, Array, Exchange, Served, served
from wrk import wrk

import fasttrt
import support.models as support
from fasttrt._bench.wall_clock import timed

CLIENTS = 32
SWEEP = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OTHERS = ("mlserver", "kserve", "litserve")
TIMES_OTHERS, TIMES_GRANIAN = 5.0, 3.0
BESIDE_INFER = 60.0
"""Microseconds that HTTP may take beside `infer`, on a GPU."""


class Model(NamedTuple):
    """What is served."""

    name: str
    content: bytes
    width: int
    reference: Callable[[Array], Array]


def identity() -> Model:
    """768 floats, which come back."""
    from onnx import TensorProto, helper

    shape: list[int | str | None] = ["batch", 768]
    proto = support.make(
        [helper.make_node("Identity", ["x"], ["y"], "identity")],
        [support.value("x", TensorProto.FLOAT, shape)],
        [support.value("y", TensorProto.FLOAT, shape)],
    )
    return Model("identity", proto.SerializeToString(), 768, lambda x: x)


def mlp() -> Model:
    """784-128-64-10."""
    model = support.mlp((784, 128, 64, 10))
    return Model("mlp", model.to_bytes(), 784, model.reference)


MODELS = {"identity": identity, "mlp": mlp}


class Round(NamedTuple):
    """A server in one round."""

    cpu_us: float
    rate: float
    p50_us: float
    """With a single client."""


def run_round(server: Served, exchange: Exchange, seconds: int) -> Round:
    """Many clients, then one."""
    before = server.cpu_seconds()
    load = wrk(server.port, exchange, CLIENTS, seconds)
    cpu = server.cpu_seconds() - before
    alone = wrk(server.port, exchange, 1, max(1, seconds // 2))
    return Round(cpu / load.requests * 1e6, load.rate, alone.p50_us)


def compare(report: Report, model: Model, pythons: dict[str, str]) -> None:
    """The table of a model, and the targets."""
    options = report.options
    rng = np.random.default_rng()
    x = rng.standard_normal((1, model.width), np.float32)
    right = model.reference(x)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "m.onnx"
        file.write_bytes(model.content)
        running: dict[str, Served] = {}
        for name, python in pythons.items():
            start = served(name, python, file, options.device)
            server = report.attempt(name, stack.enter_context, start)
            if server and report.attempt(name, server.check, x, right):
                running[name] = server
        rounds: dict[str, list[Round]] = {name: [] for name in running}
        for server in running.values():  # warm
            wrk(server.port, server.kind.exchange(x), CLIENTS, 1)
        for i in range(options.rounds):
            for name in list(running) if i % 2 == 0 else list(running)[::-1]:
                server = running[name]
                exchange = server.kind.exchange(x)
                found = report.attempt(name, run_round, server, exchange, options.seconds)
                if found:
                    rounds[name].append(found)
        for name, server in running.items():
            report.attempt(name, server.check, x, right)
        medians = show(report, model, rounds)
        judge(report, model, medians)
        if "fasttrt" in running:
            sweep(report, model, running["fasttrt"], x)
            beside_infer(report, model, running["fasttrt"], x)


def show(report: Report, model: Model, rounds: dict[str, list[Round]]) -> dict[str, Round]:
    """Print the medians of all rounds."""
    print(f"{model.name}: medians of {report.options.rounds} rounds")
    print(
        f"{'':26} {'format':16} {'CPU us/request':>15} {'requests/s':>11} {'p50 us, 1 client':>17}"
    )
    medians = {}
    for name, found in rounds.items():
        if not found:
            continue
        kind = KINDS[name]
        middle = medians[name] = Round(*(median(values) for values in zip(*found, strict=True)))
        print(
            f"{kind.title:26} {kind.format:16} {middle.cpu_us:15.1f} {middle.rate:11.0f} "
            f"{middle.p50_us:17.0f}"
        )
        report.row(
            model=model.name, server=kind.title, format=kind.format, clients=CLIENTS,
            medians=middle._asdict(), rounds=[one._asdict() for one in found],
        )  # fmt: skip
    return medians


def judge(report: Report, model: Model, medians: dict[str, Round]) -> None:
    """Compare the processor time of a request, and the rates, with the rivals'."""
    others = [medians[name] for name in OTHERS if name in medians]
    granian, ours = medians.get("granian"), medians.get("fasttrt")
    best = min((other.cpu_us for other in others), default=None)
    fastest = max((other.rate for other in others), default=None)
    for rival, cpu, rate, limit in (
        ("the best of MLServer, KServe SDK, LitServe", best, fastest, TIMES_OTHERS),
        ("granian", granian and granian.cpu_us, granian and granian.rate, TIMES_GRANIAN),
    ):
        report.target(
            model.name, f"CPU of a request: {rival} / fasttrt serve",
            got=cpu / ours.cpu_us if cpu and ours else None, limit=limit, most=False,
        )  # fmt: skip
        if rate and ours:
            report.value(f"{model.name}: requests/s, over {rival}'s", ours.rate / rate, "times")


def sweep(report: Report, model: Model, server: Served, x: Array) -> None:
    """Ours with more and more clients."""
    exchange = server.kind.exchange(x)
    print(f"{model.name}, fasttrt serve:")
    print(f"{'clients':>8} {'requests/s':>11} {'p50 us':>9} {'p99 us':>9} {'CPU us/request':>15}")
    for clients in SWEEP:
        before = server.cpu_seconds()
        load = wrk(server.port, exchange, clients, report.options.seconds)
        cpu = (server.cpu_seconds() - before) / load.requests * 1e6
        print(
            f"{clients:8} {load.rate:11.0f} {load.p50_us:9.0f} {load.p99_us:9.0f} {cpu:15.1f}",
            flush=True,
        )
        report.row(model=model.name, clients=clients, rate=load.rate, p50_us=load.p50_us,
                   p99_us=load.p99_us, cpu_us=cpu)  # fmt: skip


def beside_infer(report: Report, model: Model, server: Served, x: Array) -> None:
    """What HTTP adds to a call of `infer` in this process, on the same device."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m.onnx"
        file.write_bytes(model.content)
        with fasttrt.Engine(file, device=report.options.device) as engine:
            for _ in range(500):
                engine.infer(x)
            times = timed(engine.infer, [(x,)], 3000)
    inside = median(times)
    load = wrk(server.port, server.kind.exchange(x), 1, report.options.seconds)
    report.value(f"{model.name}: p50 of infer", inside)
    report.value(f"{model.name}: p50 over HTTP, 1 client", load.p50_us)
    if report.options.device != "cpu":
        report.target(
            model.name, "us over HTTP - infer", got=load.p50_us - inside, limit=BESIDE_INFER,
            most=True,
        )  # fmt: skip


def main() -> int:
    """All models."""
    parser = arguments(__doc__, budget=300)
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", type=_pair,
        help=f"the Python that has a server: {', '.join(name for name in KINDS)}; this one has "
        "fasttrt unless told",
    )  # fmt: skip
    parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    report = Report("serving", parser.parse_args())
    pythons = {"fasttrt": sys.executable, **dict(report.options.python)}
    for name in KINDS:
        if name not in pythons:
            report.leave_out(name, f"--python {name}=PATH says where it is")
    for name in report.options.model:
        report.run(name, compare, report, MODELS[name](), pythons)
    return report.finish()


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if name not in KINDS or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=PATH with one of {', '.join(KINDS)}")
    return name, path


if __name__ == "__main__":
    sys.exit(main())
