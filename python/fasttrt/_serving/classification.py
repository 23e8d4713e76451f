"""The classification extension: the largest values of an output, as ``value:index[:label]``."""

from collections.abc import Sequence

import numpy as np

from fasttrt._serving.codec import Array


def classify(array: Array, classes: int, labels: Sequence[str], *, batched: bool) -> Array:
    """Return the strings of the largest values, the largest first, equal ones by their index.

    Args:
        array: an output of numbers.
        classes: how many; all if there are fewer.
        labels: of the indices; empty, or too short, where they have none.
        batched: whether the first dimension is a batch, whose elements are classified one by one.

    Returns:
        An array of `str`, ``[batch, classes]`` or ``[classes]``.
    """
    rows = array.reshape(array.shape[0] if batched else 1, -1)
    count = min(classes, rows.shape[1])
    # Sorted from behind, so that equal values come in order; NaN, which is no number, comes last.
    values = np.where(np.isnan(rows), -np.inf, rows) if rows.dtype.kind == "f" else rows
    order = rows.shape[1] - 1 - np.argsort(values[:, ::-1], axis=1, kind="stable")[:, ::-1]
    strings = np.empty((len(rows), count), object)
    for i, best in enumerate(order[:, :count].tolist()):
        strings[i] = [_string(rows[i, index].item(), index, labels) for index in best]
    return strings if batched else strings[0]


def _string(value: float, index: int, labels: Sequence[str]) -> str:
    """Format a value as C++'s ``to_string`` does, which Triton uses."""
    number = f"{value:f}" if isinstance(value, float) else str(value)
    label = labels[index] if index < len(labels) else ""
    return f"{number}:{index}:{label}" if label else f"{number}:{index}"
