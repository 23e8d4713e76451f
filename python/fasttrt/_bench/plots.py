"""Plots, where matplotlib is there."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw(
    path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], title: str, x: str, y: str
) -> None:
    """Write an image with both axes logarithmic.

    Args:
        path: of the file.
        lines: points by what they are of.
        title: of the plot.
        x: what is measured along that axis.
        y: the same.

    Raises:
        ImportError: there is no matplotlib.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(11, 5), layout="constrained")
    for index, (name, points) in enumerate(lines.items()):
        style = ("-", "--", ":")[index // 10 % 3]  # ten colours, and then again
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=name)
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
