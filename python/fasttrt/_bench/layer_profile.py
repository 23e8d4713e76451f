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
    """The names of the ONNX nodes in it; empty if the inspector does not report them."""
    times: tuple[float, ...]
    """The GPU time of each run, in milliseconds."""

    @property
    def median(self) -> float:
        """The median time, in milliseconds."""
        return statistics.median(self.times)

    @property
    def total(self) -> float:
        """The time of all runs, in milliseconds."""
        return sum(self.times)


def layers(reported: Sequence[tuple[str, Sequence[float]]], inspector: str) -> tuple[Layer, ...]:
    """Return the layers that the profiler reported, in its order, with the names of their nodes.

    Args:
        reported: (layer, milliseconds of each run).
        inspector: the inspector's JSON; it contains nodes if the plan was built with
            ``profiling_verbosity="detailed"``.
    """
    nodes = onnx_nodes(inspector)
    return tuple(Layer(name, nodes.get(name, ()), tuple(times)) for name, times in reported)


def onnx_nodes(inspector: str) -> dict[str, tuple[str, ...]]:
    """Return the ONNX nodes of each layer, by the layer's name, from its ``"Metadata"``.

    TensorRT writes ``[ONNX Layer: name]`` for each node, with a unit separator between them.
    """
    nodes = {}
    for layer in layers_of(inspector) or ():
        if isinstance(layer, dict):
            names = _NODE.findall(layer.get("Metadata") or "")
            nodes[layer.get("Name", "")] = tuple(dict.fromkeys(names))
    return nodes


def shares(found: Sequence[Layer]) -> list[tuple[Layer, float]]:
    """Return each layer with its share of the total time, the largest first."""
    whole = sum(layer.total for layer in found) or 1.0
    return sorted(
        ((layer, layer.total / whole) for layer in found), key=lambda item: item[1], reverse=True
    )


def to_json(found: Sequence[Layer]) -> dict[str, Any]:
    """Return all figures as JSON values, the layer with the largest share first."""
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
    """Convert the runs to Chrome's trace event format, which Perfetto opens.

    TensorRT reports how long each layer took, but not when: within a run, layers are drawn one
    after another, in the order reported. Times are in microseconds, as the format requires.
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


def table(
    found: Sequence[Layer], max_rows: int | None = None, width: int | None = None
) -> list[str]:
    """Format a table of at most ``max_rows`` layers, the one with the largest share first."""
    ranked = shares(found)
    rows = [
        [f"{100 * share:.1f} %", f"{layer.median:.4f}", layer.name, ", ".join(layer.nodes) or "-"]
        for layer, share in ranked[:max_rows]
    ]
    columns = [number("share"), number("median ms"), name("layer"), name("ONNX nodes")]
    total = sum(layer.median for layer in found)
    remark = f"{len(rows)} of {len(ranked)} layers, medians add up to {total:.4f} ms"
    return [*render(columns, rows, width), *wrap([remark], width)]
