"""The networks that the benchmarks run, each with random inputs and the right answers to them."""

from __future__ import annotations

import functools
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import support.models as support

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

LARGEST_BATCH = 32
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


class WrongAnswerError(Exception):
    """A contestant computed something else than it should."""


@dataclass(frozen=True)
class Network:
    """A model with one input ``x`` and one output ``y``, whose first axis is the batch."""

    name: str
    model: Any
    """What `fasttrt.build` takes."""
    draw: Callable[[int], Array]
    """So many random samples."""
    reference: Callable[[Array], Array]
    tolerance: float
    """The largest error of right answers, as a share of the largest value."""

    def shapes(self, opt: int = 1, largest: int = LARGEST_BATCH) -> dict[str, Any]:
        """What `fasttrt.build` takes as ``shapes``, for batches from 1 on."""
        sample = self.draw(1).shape[1:]
        return {"x": tuple((batch, *sample) for batch in (1, opt, largest))}

    def inputs(self, batch: int, count: int) -> tuple[list[Array], list[Array]]:
        """So many batches with the right answers, which differ enough to tell them apart.

        Raises:
            WrongAnswerError: the model gives nearly the same answer to everything.
        """
        xs = [self.draw(batch) for _ in range(count)]
        ys = [np.asarray(self.reference(x), np.float64) for x in xs]
        for i, y in enumerate(ys):
            if count > 1 and (apart := error(ys[i - 1], y)) < 2 * self.tolerance:
                raise WrongAnswerError(
                    f"{self.name}: answers to different inputs are only {apart:.2g} apart, "
                    "so that a comparison would prove nothing"
                )
        return xs, ys

    def check(self, who: str, answer: Any, right: Array) -> float:
        """The answer's error.

        Raises:
            WrongAnswerError: it is too large.
        """
        answer = np.asarray(answer)
        if answer.shape != right.shape:
            raise WrongAnswerError(f"{who}: {self.name} gave {answer.shape}, not {right.shape}")
        off = error(answer, right)
        if not off <= self.tolerance:
            raise WrongAnswerError(f"{who}: {self.name} is off by {off:.3g} of the largest value")
        return off


def error(answer: Array, right: Array) -> float:
    """The largest difference as a share of the largest right value; infinite for NaN."""
    off = float(np.abs(answer.astype(np.float64) - right).max() / np.abs(right).max())
    return off if np.isfinite(off) else float("inf")


def mlp() -> Network:
    """784-128-64-10 in float32, which TensorRT may round to TF32 (4e-4 off)."""
    model = support.mlp((784, 128, 64, 10))
    rng = np.random.default_rng()
    return Network(
        "MLP 784-128-64-10",
        model.proto,
        lambda batch: rng.standard_normal((batch, 784)).astype(np.float32),
        model.reference,
        tolerance=3e-3,
    )


def elementwise() -> Network:
    """3 x + x over a vector: all that it reads it reads once, and its output is as large."""
    model = support.elementwise(("batch",))
    rng = np.random.default_rng()
    return Network(
        "elementwise",
        model.proto,
        lambda size: rng.standard_normal(size).astype(np.float32),
        model.reference,
        tolerance=1e-5,
    )


def product() -> Network:
    """Rows of 64 times a matrix of 64 x 4, whose output is a sixteenth of its input."""
    model = support.mlp((64, 4))
    rng = np.random.default_rng()
    return Network(
        "matrix product",
        model.proto,
        lambda rows: rng.standard_normal((rows, 64)).astype(np.float32),
        model.reference,
        tolerance=3e-3,
    )


def convolution() -> Network:
    """A 3x3 convolution over images of 4 x 8 x 8, which reads each value several times."""
    model = support.convolution(4, 1)
    rng = np.random.default_rng()
    return Network(
        "convolution",
        model.proto,
        lambda batch: rng.standard_normal((batch, 4, 8, 8)).astype(np.float32),
        model.reference,
        tolerance=3e-3,
    )


@functools.cache
def resnet50(device: str = "cuda") -> Network:
    """In float16, batches from 1 to `LARGEST_BATCH`, exported from torchvision.

    float16 was 3e-3 off in ONNX Runtime, and answers to different images are 0.2 apart. Made once
    in a process, on the GPU if that works.
    """
    import torch

    places = ["cuda", "cpu"] if device != "cpu" and torch.cuda.is_available() else ["cpu"]
    for place in places:
        try:
            return _exported(place)
        except Exception as problem:  # not what is measured: the CPU will do
            if place == places[-1]:
                raise
            print(f"ResNet-50 is exported on the CPU, as the GPU failed: {problem}", flush=True)
    raise AssertionError("unreachable")


def _exported(place: str) -> Network:
    import torch
    import torchvision

    model = torchvision.models.resnet50(weights=None).to(place)
    # Fresh weights let every image end in the same place, and magnify each rounding: the norms get
    # the images' statistics, and each block's share in its sum is as small as training makes it.
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average
            if name.endswith("bn3"):
                torch.nn.init.constant_(module.weight, 0.3)
    with torch.no_grad():
        model.train()(torch.from_numpy(_images(8)).to(place))
    model = model.eval().half()
    path = Path(_folder().name) / f"resnet50-{place}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old exporter, which is the quick one
        torch.onnx.export(
            model,
            (torch.from_numpy(_images(1)).half().to(place),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
    exact = torch.float64 if place == "cuda" else torch.float32  # which would be TF32 on the GPU
    model = model.to(exact)  # of the same, rounded weights

    def reference(x: Array) -> Array:
        with torch.no_grad():
            y: Array = model(torch.from_numpy(x).to(place, exact)).cpu().numpy()
        return y

    return Network(
        "ResNet-50 fp16",
        path,
        lambda batch: _images(batch).astype(np.float16),
        reference,
        tolerance=2e-2,
    )


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="fasttrt-bench-")


def _images(count: int) -> Array:
    """Soft random shapes of various colours with some noise, normalised as these networks want."""
    rng = np.random.default_rng()
    coarse = rng.random((count, 3, 8, 8), np.float32).repeat(28, 2).repeat(28, 3)
    noise = rng.random((count, 3, 224, 224), np.float32)
    pixels = rng.random((count, 3, 1, 1), np.float32) * (0.8 * coarse + 0.2 * noise)
    normalised: Array = (pixels - MEAN) / STD
    return normalised
