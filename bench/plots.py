"""Plots, where matplotlib is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fasttrt._bench import plots


def draw(
    path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], title: str, x: str, y: str
) -> None:
    """Write the plot and say where; see `fasttrt._bench.plots.draw`."""
    plots.draw(path, lines, title, x, y)
    print(f"plot: {path}")
