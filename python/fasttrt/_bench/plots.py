"""Line plots; require matplotlib."""

import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fasttrt._common.file_kinds import chart
from fasttrt._common.output_file import Output


def draw(
    path: Path,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    x: str,
    y: str,
    force: bool = False,
) -> None:
    """Write a plot with logarithmic axes.

    Args:
        path: the image file.
        lines: the points of each line, by its label.
        title: the title of the plot.
        x: the label of the x axis.
        y: the label of the y axis.
        force: whether to replace a file of any kind.

    Raises:
        ImportError: matplotlib is not installed.
        InputError: the existing file is of another kind.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(11, 5), layout="constrained")
    for index, (name, points) in enumerate(lines.items()):
        style = ("-", "--", ":")[index // 10 % 3]  # the ten colours repeat
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=name)
    ticks = sorted({point[0] for points in lines.values() for point in points})
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format=path.suffix[1:].lower())
    pyplot.close(figure)
    with Output(path, chart(path.suffix), force=force).open() as stream:
        stream.write(image.getvalue())
