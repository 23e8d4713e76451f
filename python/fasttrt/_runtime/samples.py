"""Samples of a model's inputs: arrays, iterables of arrays, or files."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

from fasttrt._common.checks import prefixed
from fasttrt._common.host_array import Array, host_array
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.arguments import ordered
from fasttrt._runtime.arrays import is_device_array
from fasttrt._runtime.reference_backend import check_array
from fasttrt._runtime.sample_files import Named, saved_samples
from fasttrt.errors import InputError

Inputs: TypeAlias = (
    "Mapping[str, Any] | Array | tuple[Any, ...] | Iterable[Any] | str | os.PathLike[str]"
)
"""One sample (a mapping, an array, a tuple of arrays), an iterable of samples, or the path of saved
ones, see `saved_samples`."""
Samples: TypeAlias = Iterable[Any] | str | os.PathLike[str]
"""An iterable of samples, or the path of saved ones."""


def given_samples(
    inputs: Inputs, specs: Sequence[TensorSpec], more: Collection[str] = ()
) -> Iterator[Named]:
    """Yield a mapping from names to arrays for each sample.

    Args:
        inputs: the samples.
        specs: the model's inputs.
        more: the names of other arrays that a sample may have.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not a sample, its names are others, or the files contain none.
    """
    names = {spec.name for spec in specs}
    is_one = not isinstance(inputs, (str, os.PathLike)) and _is_sample(inputs)
    items = [("", inputs)] if is_one else _items(inputs, specs, "inputs")
    for label, item in items:
        with _named_errors("inputs", label):
            sample = _by_name(item, specs)
            ordered(specs, {n: sample[n] for n in sample if n in names or n not in more})
        yield sample


def read_samples(specs: Sequence[TensorSpec], data: Samples, what: str) -> Iterator[list[Array]]:
    """Yield the arrays of each sample in the inputs' order, as ONNX Runtime requires them.

    Args:
        specs: the model's inputs.
        data: the samples, read one at a time.
        what: what the samples are, for messages, as in ``"data"``.

    Raises:
        MissingFileError: there is no such file.
        InputError: there are no samples, or one does not match the model, has no rows or is not
            finite; the message names the sample and the input.
    """
    count = 0
    for label, item in _items(data, specs, what):
        with _named_errors(what, label):
            arrays = _checked(_by_name(item, specs), specs)
        yield arrays
        count += 1
    if count == 0:
        raise InputError(f"{what}: expected at least one sample, got none")


def _is_sample(inputs: Any) -> bool:
    """Return whether a value is one sample; a framework's array is, although it is iterable."""
    is_array = hasattr(inputs, "__array__") or hasattr(inputs, "__dlpack__")
    return is_array or isinstance(inputs, (Mapping, tuple)) or not isinstance(inputs, Iterable)


def _items(data: Samples, specs: Sequence[TensorSpec], what: str) -> Iterator[tuple[str, Any]]:
    """Yield what each sample is called in messages, and the sample as it was passed."""
    if isinstance(data, (str, os.PathLike)):
        yield from saved_samples(data, specs, what)
        return
    if isinstance(data, (np.ndarray, Mapping, bytes)) or not isinstance(data, Iterable):
        raise InputError(
            f"{what}: expected files, or an iterable of samples as Engine.infer takes them (a list "
            f"for a single one), got {type(data).__name__}"
        )
    for index, sample in enumerate(data):
        yield f"item {index}", sample


def _named_errors(what: str, label: str) -> AbstractContextManager[None]:
    """Let an error say which sample is wrong."""
    return prefixed(f"{what}, {label}: " if label else f"{what}: ")


def _by_name(item: Any, specs: Sequence[TensorSpec]) -> Named:
    """Convert a sample (a mapping, an array, a tuple of arrays) to arrays by name."""
    texts = {spec.name for spec in specs if spec.dtype.kind == "O"}
    if isinstance(item, Mapping):
        named = {str(name): value for name, value in item.items()}
    else:
        arrays = item if isinstance(item, tuple) else (item,)
        if len(arrays) != len(specs):
            names = ", ".join(spec.name for spec in specs)
            raise InputError(f"expected {len(specs)} arrays ({names}), got {len(arrays)}")
        named = {spec.name: array for spec, array in zip(specs, arrays, strict=True)}
    return {name: _array(name, value, name in texts) for name, value in named.items()}


def _array(name: str, value: Any, text: bool) -> Array:
    if is_device_array(value):
        raise InputError(
            f"{name}: expected an array in host memory, got {type(value).__name__} on a GPU"
        )
    return host_array(name, value, text)


def _checked(sample: Named, specs: Sequence[TensorSpec]) -> list[Array]:
    """Return the arrays in the inputs' order, if they fit the model and are finite."""
    arrays = [check_array(s, a) for s, a in zip(specs, ordered(specs, sample), strict=True)]
    if arrays and all(array.size == 0 for array in arrays):
        raise InputError(
            f"{specs[0].name}: expected at least one row, got none: shape {arrays[0].shape}"
        )
    for spec, array in zip(specs, arrays, strict=True):
        is_float = array.dtype.kind not in "biuOSU"  # ml_dtypes' are of kind V
        if is_float and not np.isfinite(array.astype(np.float64)).all():
            raise InputError(f"{spec.name}: expected finite values, got NaN or Inf")
    return arrays
