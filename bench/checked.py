"""Engines whose every answer is compared with numpy's float64, for the scripts beside this file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fasttrt

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.models import Model, convolution, mlp

Array = npt.NDArray[Any]
TOLERANCE = 5e-5
"""The largest error of right answers. TensorRT-RTX 1.6.1 was up to 7e-6 off; TF32 would be 4e-4."""

os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # what TensorRT-RTX heeds for tf32=False


class Checked(NamedTuple):
    """An engine with inputs of every extent that it takes, and the right answers."""

    engine: fasttrt.Engine
    model: Model
    draw_shape: Callable[[np.random.Generator], tuple[int, ...]]
    largest: tuple[int, ...]

    def run(self, rng: np.random.Generator, shape: tuple[int, ...] | None = None) -> float:
        """The largest error of one run, as a share of the largest value."""
        drawn = self.draw_shape(rng) if shape is None else shape
        x = rng.standard_normal(drawn).astype(np.float32)
        y = self.engine.infer(x)
        right = self.model.reference(x)
        if y.shape != right.shape or not np.isfinite(y).all():
            return float("inf")
        return float(np.abs(y - right).max() / np.abs(right).max())


def open_engines(device: str, contexts: int, specialization: Any = "auto") -> list[Checked]:
    """A network of matrix products with any batch, and one of convolutions with any size."""
    config = fasttrt.BuildConfig(tf32=False)

    def engine(model: Model, *shapes: tuple[int, ...]) -> fasttrt.Engine:
        return fasttrt.Engine(
            model.proto, device=device, config=config, shapes={"x": shapes}, contexts=contexts,
            specialization=specialization,
        )  # fmt: skip

    products, images = mlp((784, 128, 64, 10)), convolution()
    return [
        Checked(
            engine(products, (1, 784), (8, 784), (32, 784)),
            products,
            lambda rng: (int(rng.integers(1, 33)), 784),
            (32, 784),
        ),
        Checked(
            engine(images, (1, 4, 8, 8), (2, 4, 16, 16), (4, 4, 24, 24)),
            images,
            lambda rng: (int(rng.integers(1, 5)), 4, *map(int, rng.integers(8, 25, 2))),
            (4, 4, 24, 24),
        ),
    ]
