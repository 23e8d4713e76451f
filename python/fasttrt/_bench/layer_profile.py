"""Time by layer, from TensorRT's profiler, with the ONNX nodes that each layer came from."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fasttrt._common.tables import name, number, render, wrap
from fasttrt._library.inspector import layers_of

_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


@dataclass(frozen=True)
class Layer:
    """A layer of the engine."""

    name: str
    nodes: tuple[str, ...]
    """Names of the ONNX nodes in it; empty where the inspector tells none."""
    times: tuple[float, ...]
    """Of each run, in milliseconds of GPU time."""

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.times)

    @property
    def total(self) -> float:
        """Milliseconds of all runs."""
        return sum(self.times)


def layers(reported: Sequence[tuple[str, Sequence[float]]], inspector: str) -> tuple[Layer, ...]:
    """What the profiler reported, in its order, with names of nodes.

    Args:
        reported: (layer, milliseconds of each run).
        inspector: its JSON; with nodes where the plan was built with
            ``profiling_verbosity="detailed"``.
    """
    nodes = onnx_nodes(inspector)
    return tuple(Layer(name, nodes.get(name, ()), tuple(times)) for name, times in reported)


def onnx_nodes(inspector: str) -> dict[str, tuple[str, ...]]:
    """The ONNX nodes in each layer, by the layer's name, as far as its ``"Metadata"`` tells.

    TensorRT writes ``[ONNX Layer: name]`` for each, with a unit separator between them.
    """
    found = {}
    for layer in layers_of(inspector) or ():
        if isinstance(layer, dict):
            names = _NODE.findall(layer.get("Metadata") or "")
            found[layer.get("Name", "")] = tuple(dict.fromkeys(names))
    return found


def shares(found: Sequence[Layer]) -> list[tuple[Layer, float]]:
    """Each layer with its part of the time of all, the greatest first."""
    whole = sum(layer.total for layer in found) or 1.0
    return sorted(
        ((layer, layer.total / whole) for layer in found), key=lambda item: item[1], reverse=True
    )


def to_json(found: Sequence[Layer]) -> dict[str, Any]:
    """All of it, the layer with the greatest share first."""
    return {
        "runs": len(found[0].times) if found else 0,
        "layers": [
            {
                "name": layer.name,
                "onnx_nodes": list(layer.nodes),
                "share": share,
                "median_ms": layer.median,
                "times_ms": list(layer.times),
            }
            for layer, share in shares(found)
        ],
    }


def trace(found: Sequence[Layer]) -> dict[str, Any]:
    """The runs in Chrome's trace event format, which Perfetto opens.

    TensorRT reports how long each layer took and not when: within a run they are drawn one after
    the other, in the order of its reports. Times are microseconds, as the format wants.
    """
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "fasttrt profile"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "layers"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "runs"}},
    ]
    now = 0.0
    for run in range(len(found[0].times) if found else 0):
        start = now
        for layer in found:
            took = 1000 * layer.times[run]
            events.append({
                "ph": "X", "name": layer.name, "cat": "layer", "pid": 1, "tid": 1, "ts": now,
                "dur": took, "args": {"ONNX nodes": ", ".join(layer.nodes)},
            })  # fmt: skip
            now += took
        events.append({
            "ph": "X", "name": f"run {run}", "cat": "run", "pid": 1, "tid": 2, "ts": start,
            "dur": now - start,
        })  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def table(found: Sequence[Layer], most: int | None = None, width: int | None = None) -> list[str]:
    """The lines of a table, the layer with the greatest share first; ``most`` rows."""
    ranked = shares(found)
    rows = [
        [f"{100 * share:.1f} %", f"{layer.median:.4f}", layer.name, ", ".join(layer.nodes) or "-"]
        for layer, share in ranked[:most]
    ]
    columns = [number("share"), number("median ms"), name("layer"), name("ONNX nodes")]
    total = sum(layer.median for layer in found)
    remark = f"{len(rows)} of {len(ranked)} layers, medians add up to {total:.4f} ms"
    return [*render(columns, rows, width), *wrap([remark], width)]
