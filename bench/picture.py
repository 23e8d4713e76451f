"""Draw what `compare_runtimes.py` measured: a bar for each runtime, a panel for each network.

python bench/picture.py runtimes.json docs/runtimes.svg
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OURS = "infer(numpy)"
RUNTIMES = {
    OURS: "fasttrt",
    "ONNX Runtime (TensorRT-RTX provider)": "ONNX Runtime,\nTensorRT-RTX provider",
    "ONNX Runtime (TensorRT-RTX provider, CUDA graphs)": "the same, CUDA graphs on",
    "bindings": "TensorRT-RTX's\nPython bindings",
    "bindings + their graphs": "the same, CUDA graphs on",
    "torch.compile": 'torch.compile,\n"reduce-overhead"',
}
"""What the picture calls each runtime, by the beginning of its cases' names."""
OWN, OTHER, INK, FAINT = "#5b9f00", "#a9b1ba", "#1f2328", "#59636e"
SETTINGS = {"svg.hashsalt": "fasttrt", "font.family": "DejaVu Sans", "font.size": 9}


def fastest(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Give the row with the smallest median, by network and by key of `RUNTIMES`."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if keys := [key for key in RUNTIMES if row["case"].startswith(key)]:
            times, key = found.setdefault(row["network"], {}), max(keys, key=len)
            times[key] = min(times.get(key, row), row, key=lambda row: row["us"]["median"])
    return found


def draw(path: Path, panels: dict[str, dict[str, float]], gpu: str) -> None:
    """Write the picture, on a white ground of its own, which dark pages show as a card."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    runtimes = [name for name in RUNTIMES if any(name in times for times in panels.values())]
    with pyplot.rc_context(SETTINGS):
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(2.4 * len(panels) + 2, 0.42 * len(runtimes) + 1),
            squeeze=False, sharey=True, layout="constrained",
        )  # fmt: skip
        for axis, (network, times) in zip(axes[0], panels.items(), strict=True):
            panel(axis, network, times, runtimes)
        labels = [RUNTIMES[name] for name in runtimes]
        axes[0][0].set_yticks(range(len(runtimes)), labels, color=INK)
        axes[0][0].invert_yaxis()
        title = f"One call, batch 1, numpy in and out: median microseconds, less is better ({gpu})"
        figure.suptitle(title, color=INK, fontsize=10)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, facecolor="white", dpi=160, metadata=metadata)
        pyplot.close(figure)


def panel(axis: Any, network: str, times: dict[str, float], runtimes: Sequence[str]) -> None:
    """The bars of a network, those of others with their multiple of fasttrt's; none if missing."""
    places = [runtimes.index(name) for name in times]
    colors = [OWN if name == OURS else OTHER for name in times]
    bars = axis.barh(places, times.values(), color=colors, height=0.66)
    labels = [
        f"{us:.0f}" if name == OURS else f"{us:.0f}  ({us / times[OURS]:.2f} x)"
        for name, us in times.items()
    ]
    axis.bar_label(bars, labels, padding=4, color=INK)
    axis.set_title(network, color=INK, fontsize=10, loc="left")
    axis.set_xlim(0, 1.5 * max(times.values()))
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.spines["left"].set(visible=True, color=FAINT)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("json", type=Path, nargs="+", help="what compare_runtimes.py wrote")
    parser.add_argument("picture", type=Path, help="an SVG or PNG file to write")
    options = parser.parse_args()
    contents = [json.loads(path.read_text()) for path in options.json]
    panels = {
        network: {runtime: row["us"]["median"] for runtime, row in rows.items()}
        for content in contents
        for network, rows in fastest(content["rows"]).items()
    }
    panels = {network: times for network, times in panels.items() if OURS in times}
    if not panels:
        parser.error(f"{options.json[0]} has no time of {OURS}")
    gpu = contents[0]["machine"].get("gpu", "CPU").partition(" (")[0]
    draw(options.picture, panels, gpu)
    print(f"{options.picture}: {options.picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
