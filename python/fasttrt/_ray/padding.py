"""Rows of different lengths padded to few sizes, so that they run together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fasttrt._common.checks import check_mapping, refuse
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._ray.columns import Array
from fasttrt.errors import InputError


def check_padding(values: Any) -> None:
    """Check that values for padding are a mapping or None.

    Raises:
        InputError: they are not.
    """
    check_mapping("padding", values, 'values by input as in {"ids": 0}')


class Padding:
    """The values that rows are padded with, and the sizes they are padded to."""

    def __init__(self, specs: Sequence[TensorSpec], values: Mapping[str, Any] | None) -> None:
        """Check the values.

        Args:
            specs: the engine's inputs.
            values: by input; others are not padded.

        Raises:
            InputError: there is no such input, or a value that its type does not have.
        """
        check_padding(values)
        by_name = {spec.name: spec for spec in specs}
        given = values or {}
        if unknown := [name for name in given if name not in by_name]:
            text = f"there is no input {unknown[0]!r}; there are {list(by_name)}"
            raise InputError(f"padding: {text}")
        self._specs = specs
        self._values = {name: _value(by_name[name], value) for name, value in given.items()}

    def padded(self, index: int, array: Array, first: int = 1) -> Array:
        """Return an array with its dynamic dimensions padded at their ends.

        Args:
            index: of the input.
            array: a row, or a column of them.
            first: the input's dimension that is the array's first: 1 for a row, 0 for a column.
        """
        spec = self._specs[index]
        if spec.name not in self._values or array.ndim != len(spec.shape) - first:
            return array
        shape = tuple(
            size if axis == 0 or spec.shape[axis] != -1 else _bucket(spec, axis, size)
            for axis, size in enumerate(array.shape, first)
        )
        if shape == array.shape:
            return array
        value = self._values[spec.name]
        dtype = np.result_type(array.dtype, _least_type(value))
        padded = np.full(shape, value, dtype)
        padded[tuple(map(slice, array.shape))] = array
        return padded


def _least_type(value: Any) -> np.dtype[Any]:
    """Return the narrowest type that has a number; numpy's own has it within its range only."""
    least = np.min_scalar_type(value)
    if least.kind != "f" or np.isnan(value):
        return least
    return next(t for t in (least, np.dtype("f4"), np.dtype("f8")) if float(t.type(value)) == value)


def _bucket(spec: TensorSpec, axis: int, size: int) -> int:
    """Return the least size to pad to: a tuned one, else a power of two or the largest."""
    ranges = [(low[axis], high[axis]) for low, _, high in spec.profiles]
    most = max((high for _, high in ranges), default=None)
    sizes = sorted(low for low, high in ranges if low == high)
    if sizes:
        return min((s for s in [*sizes, most or 0] if s >= size), default=size)
    power = 1 << max(size - 1, 0).bit_length()
    least = min((low for low, _ in ranges), default=1)
    return max(power if most is None else min(power, max(most, size)), least)


def _value(spec: TensorSpec, value: Any) -> Any:
    given = np.asarray(value)
    try:
        with np.errstate(over="ignore"):
            converted = given.astype(spec.dtype)
        fits = given.ndim == 0 and bool(converted == given or _is_rounded(converted, given))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        refuse("padding", f"a number of {spec.dtype} for {spec.name!r}", value)
    return converted.item()


def _is_rounded(converted: Array, given: Array) -> bool:
    """Return whether a number is the nearest one of a floating-point type, or NaN as before."""
    if given.dtype.kind not in "iuf" or converted.dtype.kind in "iub":
        return False
    return all(check(converted) == check(given) for check in (np.isfinite, np.isnan))
