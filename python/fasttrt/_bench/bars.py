"""A bar chart of layers, where matplotlib is there."""

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasttrt._bench.layers import Layer, shares

_MOST = 40  # bars


def draw(path: Path, found: Sequence[Layer], title: str) -> None:
    """Write the layers with the greatest shares: an image, or a page for a browser (``.html``).

    Raises:
        ImportError: there is no matplotlib.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    ranked = shares(found)[:_MOST][::-1]
    figure, axes = pyplot.subplots(figsize=(11, 1.5 + 0.28 * len(ranked)), layout="constrained")
    labels = [_shortened(", ".join(layer.nodes) or layer.name) for layer, _ in ranked]
    bars = axes.barh(range(len(ranked)), [100 * share for _, share in ranked])
    axes.set_yticks(range(len(ranked)), labels, fontsize="small", parse_math=False)
    axes.bar_label(bars, [f"{layer.median:.4f} ms" for layer, _ in ranked], fontsize="small")
    axes.set_xlabel("share of the time of all layers, %")
    axes.set_title(title, parse_math=False)
    axes.margins(x=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in {".html", ".htm"}:
        image = io.StringIO()
        figure.savefig(image, format="svg")
        svg = image.getvalue()
        page = '<!doctype html>\n<meta charset="utf-8">\n<title>fasttrt profile</title>\n'
        path.write_text(page + svg[svg.index("<svg") :], encoding="utf-8")
    else:
        figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _shortened(label: str, most: int = 60) -> str:
    return label if len(label) <= most else label[: most - 3] + "..."
