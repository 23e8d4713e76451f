"""Compute the kernels of convolutions that replace a ConvTranspose: see `phase_convolutions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._parser.node_chain import NodeChain

_MAX_RANK = 8
"""The maximum rank of TensorRT's tensors."""


@dataclass(frozen=True)
class Axis:
    """An axis of a ConvTranspose, and of the convolution in its place."""

    taps: int
    """The length of the convolution's kernel."""
    stride: int
    """The stride of the ConvTranspose: the number of phases."""
    spread: int
    """The distance of the elements of its kernel within ``taps * stride``."""
    dilation: int
    """The dilation of the convolution."""
    before: int
    """The leading padding of the convolution."""
    after: int
    """The trailing padding of the convolution."""
    start: int
    """The number of elements to remove at the start of the interleaved output."""
    excess: int
    """The number of elements to remove at its end."""

    @classmethod
    def of(
        cls, kernel: int, stride: int, dilation: int, pads: tuple[int, int], extra: int
    ) -> "Axis":
        """Plan an axis with a kernel's length, a stride, a dilation, pads and an output_padding."""
        length = (kernel - 1) * dilation + 1
        spread = 1
        if stride > 1:  # zeros between the kernel's elements replace its dilation
            kernel, dilation, spread = -(-length // stride), 1, dilation
        span = (kernel - 1) * dilation
        before = max(span - pads[0] // stride, 0)
        end = length - pads[1] + extra  # of the elements to which the input's last one contributes
        after = max(-(-end // stride) - 1, 0)
        start = pads[0] - stride * (span - before)
        excess = stride * (after + 1) - end
        return cls(kernel, stride, spread, dilation, before, after, start, excess)

    def size(self, size: int | None) -> int | None:
        """Return the size of the convolution's output for one of its input."""
        span = (self.taps - 1) * self.dilation
        return None if size is None else size + self.before + self.after - span


def constant_kernel(weights: Array, axes: Sequence[Axis], groups: int) -> Array:
    """Return a convolution's weights, [outputs x phases, inputs per group, *taps].

    Args:
        weights: those of the ConvTranspose, [inputs, outputs per group, *kernel].
        axes: its axes.
        groups: the number of its groups.
    """
    inputs, outputs, *kernel = weights.shape
    wide = np.zeros((inputs, outputs, *(a.taps * a.stride for a in axes)), weights.dtype)
    places = [slice(None)] * 2
    for size, axis in zip(kernel, axes, strict=True):
        places.append(slice(0, (size - 1) * axis.spread + 1, axis.spread))
    wide[tuple(places)] = weights
    split = wide.reshape(
        groups, inputs // groups, outputs, *(n for a in axes for n in (a.taps, a.stride))
    )
    taps, phases = range(3, split.ndim, 2), range(4, split.ndim, 2)
    moved = np.flip(split, tuple(taps)).transpose(0, 2, *phases, 1, *taps)
    kernels: Array = moved.reshape(-1, inputs // groups, *(a.taps for a in axes))
    return kernels


def can_compute(shape: Sequence[int | None] | None, axes: Sequence[Axis], groups: int) -> bool:
    """Return whether `computed_kernel` has a form for weights of that shape."""
    rank = 2 + (groups > 1) + sum(1 + (axis.stride > 1) for axis in axes)
    is_known = shape is not None and None not in shape[1 if groups == 1 else 0 :]
    return is_known and rank <= _MAX_RANK and all(axis.spread == 1 for axis in axes)


def computed_kernel(
    chain: NodeChain, name: str, shape: Sequence[int | None], axes: Sequence[Axis], groups: int
) -> str:
    """Add nodes that compute `constant_kernel` in the graph; return the name of their output."""
    missing = [a.taps * a.stride - (k or 0) for k, a in zip(shape[2:], axes, strict=True)]
    if any(missing):
        name = chain.add("Pad", name, chain.constant([0] * (4 + len(axes)) + missing))
    first = [groups, (shape[0] or 0) // groups] if groups > 1 else [-1]
    dims, order, flipped, taps = [*first, shape[1]], [], [], []
    for axis in axes:
        taps.append(len(dims))
        if axis.taps > 1:
            flipped.append((len(dims), axis.taps))
        dims.append(axis.taps)
        if axis.stride > 1:
            order.append(len(dims))
            dims.append(axis.stride)
    name = chain.add("Reshape", name, chain.constant(dims))
    for place, count in flipped:
        name = chain.add("Gather", name, chain.constant(range(count)[::-1]), axis=place)
    inputs = len(first) - 1
    name = chain.add("Transpose", name, perm=[*range(inputs), inputs + 1, *order, inputs, *taps])
    outputs = groups * (shape[1] or 0) * prod(axis.stride for axis in axes)
    return chain.add("Reshape", name, chain.constant([outputs, first[-1], *(a.taps for a in axes)]))
