"""The networks that ``--model`` names, any ONNX file among them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import models
import numpy as np
from measure import LeftOutError
from models import LARGEST_BATCH, Array, Arrays, Network
from sessions import CPU, open_session
from text import text_encoder
from vision import TITLES, vision

from fasttrt._common.tensor_spec import Range, Shape
from fasttrt._graph.model import DeclaredTensor, OnnxModel
from fasttrt._plan.profiles import parse_range

PLAIN = {"convnet": models.convnet, "elementwise": models.rows_through}
MLP, RESNET, TEXT = "MLP", "ResNet-50", "text encoder"
_EXTENTS = r"\d+(?:x\d+)*"
_SHAPES = re.compile(rf"(?P<name>.+?):(?P<range>{_EXTENTS}(?::{_EXTENTS}:{_EXTENTS})?)")


def chosen(options: argparse.Namespace) -> dict[str, Callable[[], Network]]:
    """A maker of each of the networks, by a short name."""
    makers: dict[str, Callable[[], Network]] = {}
    for name in options.model:
        if name == "mlp":
            makers[MLP] = models.mlp
        elif name == "text":
            makers[TEXT] = text_encoder
        elif name in PLAIN:
            makers[name] = PLAIN[name]
        elif name in TITLES:
            makers[TITLES[name].removesuffix(" fp16")] = partial(vision, name, options.device)
        else:
            makers[name] = partial(from_file, Path(name), options.shapes, options.tolerance)
    return makers


@dataclass(frozen=True)
class FileNetwork(Network):
    """From an ONNX file, with the extents that its inputs may have."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    given: bool = True
    """Whether the caller gave them."""

    def shapes(self, opt: int = 1, largest: int = LARGEST_BATCH) -> dict[str, Any]:
        """Those given, else for batches as wanted."""
        least, most = self.batches
        if self.given or least == most:
            return dict(self.ranges)
        return {
            name: tuple((batch, *a[1:]) if a[:1] != c[:1] else a for batch in (1, opt, largest))
            for name, (a, _, c) in self.ranges.items()
        }


def from_file(path: Path, shapes: Sequence[str], tolerance: float) -> Network:
    """Random inputs by the declared types and extents, compared with ONNX Runtime on the CPU."""
    if not path.is_file():
        raise FileNotFoundError(
            f"--model: {path} is none of mlp, text, {', '.join([*PLAIN, *TITLES])}, and no file"
        )
    model = OnnxModel(path)
    given = parse_shapes(shapes)
    names = [tensor.name for tensor in model.inputs]
    if unknown := given.keys() - set(names):
        raise ValueError(f"--shapes: {path} has no input {', '.join(unknown)}; it has {names}")
    ranges = {tensor.name: given.get(tensor.name) or _range(tensor) for tensor in model.inputs}
    firsts = [(a[0], c[0]) for a, _, c in ranges.values() if a and a[0] != c[0]]
    if firsts:  # the batch is what may vary
        batches = (max(a for a, _ in firsts), min(c for _, c in firsts))
    else:
        batch = next((a[0] for a, _, _ in ranges.values() if a), 1)
        batches = (batch, batch)
    rng = np.random.default_rng()

    def draw(batch: int) -> Arrays:
        arrays = []
        for tensor in model.inputs:
            least, best, most = ranges[tensor.name]
            varies = bool(least) and least[0] != most[0]
            arrays.append(_random(rng, tensor, (batch, *best[1:]) if varies else best))
        return tuple(arrays)

    session = open_session(path, CPU)

    def reference(*xs: Array) -> tuple[Any, ...]:
        return tuple(session.run(None, dict(zip(names, xs, strict=True))))

    return FileNetwork(
        path.stem, path, draw, reference, tolerance, tuple(names), batches, distinct=False,
        ranges=ranges, given=bool(given),
    )  # fmt: skip


def parse_shapes(texts: Sequence[str]) -> dict[str, Range]:
    """The ranges that ``--shapes`` gives, by input."""
    found = {}
    for text in ",".join(texts).split(","):
        match = _SHAPES.fullmatch(text)
        if match:
            found[match["name"]] = parse_range(match["name"], match["range"])
        elif text:
            raise ValueError(f"--shapes: expected NAME:1x3:8x3:32x3 or NAME:1x3, got {text!r}")
    return found


def _range(tensor: DeclaredTensor) -> Range:
    """As declared; a first extent that is not fixed is the batch."""
    if tensor.shape is None:
        raise ValueError(
            f"input {tensor.name!r} declares no shape: give --shapes {tensor.name}:MIN:OPT:MAX"
        )
    unknown = [axis for axis, extent in enumerate(tensor.shape) if not isinstance(extent, int)]
    if any(axis > 0 for axis in unknown):
        shape = "x".join(str(e) if isinstance(e, int) else e or "?" for e in tensor.shape)
        raise ValueError(
            f"input {tensor.name!r} has the shape {shape}, of which only the first extent can be "
            f"guessed: give --shapes {tensor.name}:MIN:OPT:MAX with a number for each of the others"
        )
    fixed = tuple(extent for extent in tensor.shape if isinstance(extent, int))
    if not unknown:
        return fixed, fixed, fixed
    return (1, *fixed), (1, *fixed), (LARGEST_BATCH, *fixed)


def _random(rng: np.random.Generator, tensor: DeclaredTensor, shape: Shape) -> Array:
    """Normally distributed, or 0 and 1, which serve as tokens and as a mask."""
    dtype = tensor.dtype
    if dtype.kind in "OSU":
        raise LeftOutError(f"input {tensor.name!r} holds text")
    values = rng.integers(0, 2, shape) if dtype.kind in "biu" else rng.standard_normal(shape)
    return np.asarray(values, dtype)
