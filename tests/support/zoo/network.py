"""A network of the zoo: its module, its inputs, and which of their axes vary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Input:
    """What a network takes."""

    shape: tuple[int | str, ...]
    """A name stands for one of `Network.sizes`."""
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Network:
    """A PyTorch module with random weights, and what it takes."""

    name: str
    family: str
    make: Callable[[bool], Any]
    """The module in evaluation mode, giving tensors; small enough for a test's data, if True."""
    inputs: Mapping[str, Input]
    sizes: Sizes = field(default_factory=dict)
    """Of the axes with a name: the example's."""
    small_sizes: Sizes = field(default_factory=dict)
    """The same for the small network, where they differ."""
    dynamic: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The least and the largest size of the axes that vary."""
    needs: tuple[str, ...] = ()
    """Packages besides PyTorch."""
    settle: bool = False
    """Whether norms get the statistics of the data: random weights give values of 1e-10 else."""
    limit: float = 1.0
    """How many times the usual error is allowed."""

    def all_sizes(self, small: bool = False) -> dict[str, int]:
        """Give the sizes of the example."""
        return {**self.sizes, **(self.small_sizes if small else {})}

    def draw(self, seed: int, sizes: Sizes) -> dict[str, Array]:
        """Draw inputs of these sizes."""
        rng = np.random.default_rng(seed)
        return {
            name: given.draw(rng, tuple(sizes[d] if isinstance(d, str) else d for d in given.shape))
            for name, given in self.inputs.items()
        }


def images(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw soft shapes with some noise, about normalised, so that each is different."""
    *lead, height, width = shape
    coarse = rng.standard_normal((*lead, -(-height // 8), -(-width // 8)))
    soft = coarse.repeat(8, -2).repeat(8, -1)[..., :height, :width]
    return np.asarray(0.9 * soft + 0.3 * rng.standard_normal(shape), np.float32)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw from the standard normal distribution."""
    return rng.standard_normal(shape).astype(np.float32)


def tokens(below: int) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    """Draw token ids."""
    return lambda rng, shape: rng.integers(3, below, shape)


def mask(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw attention masks: the last tokens of each but the first sequence are padding."""
    batch, length = shape
    kept = rng.integers(length // 2 + 1, length + 1, batch)
    kept[0] = length
    return (np.arange(length) < kept[:, None]).astype(np.int64)


def timesteps(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw steps of diffusion."""
    return rng.integers(1, 1000, shape).astype(np.float32)
