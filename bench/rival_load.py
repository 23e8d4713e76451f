"""The same load on other runtimes: threads with one sample each, and batches from one thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import rivals
import vendor
from closed_loop import Scale, checker, drive
from measure import Contestant
from models import LARGEST_BATCH, Network
from report import Report
from subject import Subject
from ways import show

THREADS = 32
CONTEXTS = 2  # of the bindings


def rival_load(report: Report, network: Network) -> None:
    """ONNX Runtime's TensorRT-RTX provider and the vendor's bindings.

    Neither gathers requests of several threads, so each runs one sample at a time.
    """
    single = Subject(report, network, 1, 1)
    for ways in (_provider(report, single), _bindings(report, single)):
        for name, call in ways:
            report.attempt(name, _threads, report, network, single, name, call)
    single.engine.close()
    _batches(report, network)


def _threads(
    report: Report, network: Network, subject: Subject, name: str, call: Callable[..., Any]
) -> None:
    scale = Scale(3 if report.options.quick else 5, 0.3, 0)
    check = checker(network, subject.right, name)
    for count in (1, THREADS):
        found = drive(call, subject.xs, count, scale, 0.2, check)
        show(report, network, "rivals", name, count, found, settings="transfers yes (numpy)")


Ways = Sequence[tuple[str, Callable[..., Any]]]


def _provider(report: Report, subject: Subject) -> Ways:
    """One session for all threads, which takes them one after the other."""
    name = "TensorRT-RTX provider"
    found = report.attempt(name, rivals.onnx_runtime_rtx, subject) or []
    return [(way.name.removesuffix(", numpy to numpy"), way.call) for way in found]


def _bindings(report: Report, subject: Subject) -> Ways:
    """Some contexts, of which each request takes one that is free."""
    found = []
    for suffix, graph in (("", False), (" + their graphs", True)):
        idle: queue.SimpleQueue[Contestant] = queue.SimpleQueue()
        for _ in range(CONTEXTS):
            ways = report.attempt(f"bindings{suffix}", _staged, subject, graph, suffix)
            if ways:
                idle.put(ways)
        if not idle.empty():
            name = f"bindings{suffix}, {idle.qsize()} contexts"
            found.append((name, partial(_take_turns, idle)))
    return found


def _staged(subject: Subject, graph: bool, suffix: str) -> Contestant:
    """The quickest loop from numpy to numpy."""
    ways = vendor.Bindings(subject, graph=graph).contestants(subject.xs, suffix)
    return [way for way in ways if ", staged," in way.name][-1]


def _take_turns(idle: queue.SimpleQueue[Contestant], *xs: Any) -> Any:
    way = idle.get()
    try:
        with way.around():
            return way.call(*xs)
    finally:
        idle.put(way)


def _batches(report: Report, network: Network) -> None:
    """The largest batch from numpy to numpy, all runtimes in turns: samples a second."""
    subject = Subject(report, network, LARGEST_BATCH, LARGEST_BATCH)
    ways = [subject.plain]
    ways += report.attempt("TensorRT-RTX provider", rivals.onnx_runtime_rtx, subject) or []
    for suffix, graph in (("", False), (" + their graphs", True)):
        staged = report.attempt(f"bindings{suffix}", _staged, subject, graph, suffix)
        ways += [staged] if staged else []
    stats = report.compete(network, ways, subject.right, 3, 50, subject.batch)
    subject.engine.close()
    for name, found in stats.items():
        rate = 1e6 * subject.batch / found.median
        report.value(f"{network.name}, batch {subject.batch}, {name}", rate, "samples/s")
