"""The networks that the benchmarks run, each with random inputs and the right answers to them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import support.models as support

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]

LARGEST_BATCH = 32


class WrongAnswerError(Exception):
    """A contestant computed something else than it should."""


@dataclass(frozen=True)
class Network:
    """A model whose inputs have the batch as their first axis."""

    name: str
    model: Any
    """What `fasttrt.build` takes."""
    draw: Callable[[int], Arrays]
    """Random inputs, a batch of so many samples."""
    reference: Callable[..., Any]
    """From the inputs to the output, or a tuple of them."""
    tolerance: float
    """The largest error of right answers, as a share of the largest value."""
    names: tuple[str, ...] = ("x",)
    """Of the inputs."""
    batches: tuple[int, int] = (1, LARGEST_BATCH)
    """The least and the largest."""
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Of the dimension that varies, which plans are tuned for."""
    unit: str = "samples"
    """Of the sizes."""
    dimension: str | None = None
    """That varies, by its name; None: the batch."""
    module: Callable[[str], Any] | None = None
    """The same as a PyTorch module, on a device."""
    distinct: bool = True
    """Whether answers to different inputs have to differ."""

    @property
    def slug(self) -> str:
        """The name, fit for a file's."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def shapes(self, opt: int = 1, largest: int = LARGEST_BATCH) -> dict[str, Any]:
        """What `fasttrt.build` takes as ``shapes``, for batches from 1 on."""
        return {
            name: tuple((batch, *x.shape[1:]) for batch in (1, opt, largest))
            for name, x in zip(self.names, self.draw(1), strict=True)
        }

    def inputs(self, batch: int, count: int) -> tuple[list[Arrays], list[Arrays]]:
        """So many batches with the right answers, which differ enough to tell them apart.

        Raises:
            WrongAnswerError: the model gives nearly the same answer to everything.
        """
        xs = [self.draw(batch) for _ in range(count)]
        ys = [tuple(map(_exact, several(self.reference(*x)))) for x in xs]
        for before, after in pairwise(ys):
            if (apart := error(before, after)) < 2 * self.tolerance:
                text = (
                    f"{self.name}: answers to different inputs are only {apart:.2g} apart, "
                    "so that a comparison would prove nothing"
                )
                if self.distinct:
                    raise WrongAnswerError(text)
                print(text)
                break
        return xs, ys

    def check(self, who: str, answer: Any, right: Arrays) -> float:
        """The answer's error.

        Raises:
            WrongAnswerError: it is too large.
        """
        answers = tuple(map(np.asarray, several(answer)))
        got, wanted = [y.shape for y in answers], [y.shape for y in right]
        if got != wanted:
            raise WrongAnswerError(f"{who}: {self.name} gave {got}, not {wanted}")
        off = error(answers, right)
        if not off <= self.tolerance:
            raise WrongAnswerError(f"{who}: {self.name} is off by {off:.3g} of the largest value")
        return off


def several(result: Any) -> tuple[Any, ...]:
    """A tuple of one or more."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _exact(result: Any) -> Array:
    return np.asarray(result, np.float64)


def error(answers: Sequence[Array], right: Sequence[Array]) -> float:
    """The largest difference as a share of the tensor's largest right value; infinite for NaN."""
    worst = 0.0
    for answer, y in zip(answers, right, strict=True):
        if y.size == 0:
            continue
        off = float(np.abs(answer.astype(np.float64) - y).max() / (np.abs(y).max() or 1.0))
        worst = max(worst, off if np.isfinite(off) else float("inf"))
    return worst


def mlp() -> Network:
    """784-128-64-10 in float32, which TensorRT may round to TF32 (4e-4 off)."""
    model = support.mlp((784, 128, 64, 10))
    rng = np.random.default_rng()
    return Network(
        "MLP 784-128-64-10",
        model.proto,
        lambda batch: (rng.standard_normal((batch, 784)).astype(np.float32),),
        model.reference,
        tolerance=3e-3,
        module=partial(_mlp_module, model.proto),
    )


def _mlp_module(proto: Any, device: str) -> Any:
    import torch
    from onnx import numpy_helper

    weights = {w.name: numpy_helper.to_array(w).copy() for w in proto.graph.initializer}
    layers: list[Any] = []
    for i in range(len(weights) // 2):
        layer = torch.nn.Linear(*weights[f"w{i}"].shape)
        layer.weight.data = torch.from_numpy(weights[f"w{i}"].T.copy())
        layer.bias.data = torch.from_numpy(weights[f"b{i}"])
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval().to(device)


def elementwise() -> Network:
    """3 x + x over a vector: all that it reads it reads once, and its output is as large."""
    model = support.elementwise(("batch",))
    rng = np.random.default_rng()
    return Network(
        "elementwise",
        model.proto,
        lambda size: (rng.standard_normal(size).astype(np.float32),),
        model.reference,
        tolerance=1e-5,
    )


def rows_through(width: int = 4096) -> Network:
    """3 x + x over rows of 16 KB: nothing to compute, and as much comes out as goes in."""
    model = support.elementwise(("batch", width))
    rng = np.random.default_rng()
    return Network(
        "elementwise rows",
        model.proto,
        lambda batch: (rng.standard_normal((batch, width), np.float32),),
        model.reference,
        tolerance=1e-5,
    )


def convnet() -> Network:
    """A classifier of images of 3 x 64 x 64 in float32, with 3.3 billion products for a MB of them.

    ResNet-50 has 7 billion, and 14 in float16. Norms and residuals are left out, torch is not
    needed.
    """
    from onnx import TensorProto, helper
    from sessions import CPU, open_session

    rng = np.random.default_rng()
    nodes, weights, tensor, depth = [], {}, "x", 3
    for i, (channels, stride) in enumerate(
        ((64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
    ):
        kernel = rng.standard_normal((channels, depth, 3, 3)) * np.sqrt(2 / (9 * depth))
        weights[f"w{i}"] = kernel.astype(np.float32)
        conv = helper.make_node(
            "Conv", [tensor, f"w{i}"], [f"c{i}"], pads=[1] * 4, strides=[stride] * 2
        )
        nodes += [conv, helper.make_node("Relu", [f"c{i}"], [f"r{i}"])]
        tensor, depth = f"r{i}", channels
    weights["last"] = (rng.standard_normal((depth, 1000)) / np.sqrt(depth)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [tensor], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["y"]),
    ]
    x = support.value("x", TensorProto.FLOAT, ["batch", 3, 64, 64])
    y = support.value("y", TensorProto.FLOAT, ["batch", 1000])
    proto = support.make(nodes, [x], [y], weights)
    session = open_session(proto, CPU)
    return Network(
        "convnet",
        proto,
        lambda batch: (rng.standard_normal((batch, 3, 64, 64), np.float32),),
        lambda x: session.run(None, {"x": x})[0],
        tolerance=1e-2,
    )


def product() -> Network:
    """Rows of 64 times a matrix of 64 x 4, whose output is a sixteenth of its input."""
    model = support.mlp((64, 4))
    rng = np.random.default_rng()
    return Network(
        "matrix product",
        model.proto,
        lambda rows: (rng.standard_normal((rows, 64)).astype(np.float32),),
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
        lambda batch: (rng.standard_normal((batch, 4, 8, 8)).astype(np.float32),),
        model.reference,
        tolerance=3e-3,
    )
