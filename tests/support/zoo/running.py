"""Networks of the zoo in fasttrt and in PyTorch: how far apart, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.profiles import Shapes
from support.zoo.network import Array, Network, Sizes

LIMITS = {"fp32": 2e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1.5e-1}
"""The root of the mean squared error, as a share of the outputs' own."""
WORSE_THAN_TORCH = 3.0
"""How many times the error of PyTorch in the same type is allowed where that is larger still."""
ALWAYS_WRONG = 0.8
"""An error that is wrong whatever PyTorch's is: answers to other inputs are about 1.4 apart."""


def allowed(precision: str, theirs: float | None) -> float:
    """Return the largest error of right answers in a precision, given PyTorch's error in it.

    Three times PyTorch's, up to 0.5: random weights amplify rounding, and where PyTorch itself is
    further off than that, 1.2 times PyTorch's.
    """
    theirs = theirs or 0.0
    amplified = max(min(theirs * WORSE_THAN_TORCH, 0.5), theirs * 1.2)
    return max(LIMITS[precision], min(amplified, ALWAYS_WRONG))


def error(actual: list[Array], expected: list[Array]) -> float:
    """Give the largest error of the outputs, each relative to the spread of its values."""
    worst = 0.0
    for a, e in zip(actual, expected, strict=True):
        if a.shape != e.shape or not np.isfinite(a).all():
            return float("inf")
        wide = e.astype(np.float64)
        spread = np.sqrt(np.mean(np.square(wide - wide.mean()))) or 1.0
        worst = max(worst, float(np.sqrt(np.mean(np.square(a - wide))) / spread))
    return worst


def sizes_of(network: Network) -> Iterator[Sizes]:
    """Give sizes to run with: the example's, the least, the largest, and some between."""
    example = network.all_sizes()
    yield example
    if network.dynamic:
        for end in (0, 1):
            yield {**example, **{name: ends[end] for name, ends in network.dynamic.items()}}
        middle = {n: (a + b) // 2 for n, (a, b) in network.dynamic.items()}
        yield {**example, **middle}


def profile(network: Network, model: OnnxModel, small: bool = False) -> Shapes | None:
    """Give the shapes to build for, of the inputs that the model says are dynamic."""
    example = network.all_sizes(small)

    def ends(axis: int | str) -> tuple[int, int, int]:
        if isinstance(axis, int):
            return axis, axis, axis
        least, most = network.dynamic.get(axis, (example[axis], example[axis]))
        return min(least, example[axis]), example[axis], max(most, example[axis])

    found = {}
    for tensor in model.inputs:
        assert tensor.shape is not None
        if not all(isinstance(size, int) for size in tensor.shape):
            axes = [ends(axis) for axis in network.inputs[tensor.name].shape]
            found[tensor.name] = tuple(tuple(e[i] for e in axes) for i in range(3))
    return found or None


def outputs_of(result: Any) -> list[Any]:
    """Give a module's tensors, whatever they came in."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def run_torch(module: Any, inputs: dict[str, Array], half: Any = None) -> list[Array]:
    """Run a module where it is, in float32 or in the type given, to float32."""
    import torch

    device = next(module.parameters()).device
    with torch.no_grad():
        given = [torch.from_numpy(x).to(device) for x in inputs.values()]
        given = [x.to(half) if half is not None and x.is_floating_point() else x for x in given]
        return [
            y.float().cpu().numpy() if y.is_floating_point() else y.cpu().numpy()
            for y in outputs_of(module(*given))
        ]


def engine_error(
    engine: fasttrt.Engine, inputs: dict[str, Array], other: dict[str, Array], expected: list[Array]
) -> float:
    """Give the largest error of several runs with the same inputs, from and to host memory.

    Before the last one, the engine runs with other inputs of the same shapes: TensorRT-RTX has been
    wrong from the second run on, and in the first run after the inputs changed.
    """
    runs = [list(engine.infer(inputs).values()) for _ in range(3)]
    engine.infer(other)
    runs.append(list(engine.infer(inputs).values()))
    return max(error(outputs, expected) for outputs in runs)


def times(run: Callable[[], Any], seconds: float = 0.4) -> float:
    """Give the median time in microseconds of a call that waits for the GPU."""
    for _ in range(5):
        run()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 10:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return float(np.median(found)) * 1e6
