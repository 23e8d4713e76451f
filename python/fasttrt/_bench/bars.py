"""A bar chart of layers, where matplotlib is there."""

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasttrt._bench.layer_profile import Layer, shares
from fasttrt._common.file_kinds import chart
from fasttrt._common.output_file import Output

_MAX_BARS = 40  # bars


def draw(path: Path, found: Sequence[Layer], title: str, force: bool = False) -> None:
    """Write the layers with the greatest shares: an image, or a page for a browser (``.html``).

    Raises:
        ImportError: there is no matplotlib.
        InputError: the file that is there is of another kind, and not to be replaced by ``force``.
    """
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    ranked = shares(found)[:_MAX_BARS][::-1]
    figure, axes = pyplot.subplots(figsize=(11, 1.5 + 0.28 * len(ranked)), layout="constrained")
    labels = [_shortened(", ".join(layer.nodes) or layer.name) for layer, _ in ranked]
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


def _shortened(label: str, most: int = 60) -> str:
    return label if len(label) <= most else label[: most - 3] + "..."
