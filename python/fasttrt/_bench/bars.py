"""A bar chart of layers; requires matplotlib."""

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasttrt._bench.layer_profile import Layer, shares
from fasttrt._common.file_kinds import chart
from fasttrt._common.output_file import Output

_MAX_BARS = 40


def draw(path: Path, layers: Sequence[Layer], title: str, force: bool = False) -> None:
    """Plot the layers with the largest shares, as an image or a page for a browser (``.html``).

    Raises:
        ImportError: matplotlib is not installed.
        InputError: the existing file is of another kind, and ``force`` is not set.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    ranked = shares(layers)[:_MAX_BARS][::-1]
    figure, axes = pyplot.subplots(figsize=(11, 1.5 + 0.28 * len(ranked)), layout="constrained")
    labels = [_shorten(", ".join(layer.nodes) or layer.name) for layer, _ in ranked]
    bars = axes.barh(range(len(ranked)), [100 * share for _, share in ranked])
    axes.set_yticks(range(len(ranked)), labels, fontsize="small", parse_math=False)
    axes.bar_label(bars, [f"{layer.median:.4f} ms" for layer, _ in ranked], fontsize="small")
    axes.set_xlabel("share of the time of all layers, %")
    axes.set_title(title, parse_math=False)
    axes.margins(x=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix[1:].lower()
    is_page = suffix in {"html", "htm"}
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="svg" if is_page else suffix)
    pyplot.close(figure)
    content = image.getvalue()
    if is_page:
        page = b'<!doctype html>\n<meta charset="utf-8">\n<title>fasttrt profile</title>\n'
        content = page + content[content.index(b"<svg") :]
    with Output(path, chart(path.suffix), force=force).open() as stream:
        stream.write(content)


def _shorten(label: str, max_length: int = 60) -> str:
    return label if len(label) <= max_length else label[: max_length - 3] + "..."
