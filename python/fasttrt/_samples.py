"""Arrays for a model's inputs, from an iterable or from a folder of .npy and .npz files."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np

from fasttrt._arguments import as_array, ordered
from fasttrt.errors import InputError
from fasttrt.reference import checked
from fasttrt.spec import TensorSpec

Array: TypeAlias = np.ndarray[Any, Any]
Samples: TypeAlias = Iterable[Any] | str | os.PathLike[str]
"""What `Engine.infer` takes, again and again: arrays, tuples of arrays, or mappings by name. Or a
folder: a .npz file holds an array for each input, under its name; a .npy file is the array of a
model's only input."""

_KINDS = (".npy", ".npz")


def read_samples(inputs: Sequence[TensorSpec], data: Samples, what: str) -> Iterator[list[Array]]:
    """The arrays of each sample, in the inputs' order.

    Args:
        inputs: of the model.
        data: the samples, read one at a time.
        what: what they are, for messages: ``"data"``.

    Raises:
        InputError: there are none, or one does not fit the model or is not finite; names the sample
            and the input.
    """
    count = 0
    for label, sample in _labelled(inputs, data, what):
        try:
            yield _matched(inputs, sample)
        except InputError as error:
            raise InputError(f"{what}, {label}: {error}") from None
        count += 1
    if count == 0:
        raise InputError(f"{what}: expected at least one sample, got none")


def _labelled(inputs: Sequence[TensorSpec], data: Samples, what: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, (str, os.PathLike)):
        for file in _files(Path(data), what):
            yield file.name, _loaded(inputs, file, what)
        return
    if isinstance(data, (np.ndarray, Mapping, bytes)) or not isinstance(data, Iterable):
        raise InputError(
            f"{what}: expected a folder, or an iterable of what Engine.infer takes (for one sample "
            f"a list of it), got {type(data).__name__}"
        )
    for index, sample in enumerate(data):
        yield f"item {index}", sample


def _files(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{what}: expected a folder of .npy or .npz files, got {folder}")
    files = sorted(file for file in folder.iterdir() if file.suffix in _KINDS)
    if not files:
        raise InputError(f"{what}: expected .npy or .npz files, found none in {folder}")
    return files


def _loaded(inputs: Sequence[TensorSpec], file: Path, what: str) -> Any:
    try:
        with file.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else dict(content)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{what}, {file.name}: cannot be read as {file.suffix}: {error}") from None


def _matched(inputs: Sequence[TensorSpec], sample: Any) -> list[Array]:
    if isinstance(sample, Mapping):
        values = ordered(inputs, sample)
    else:
        values = list(sample) if isinstance(sample, tuple) else [sample]
        if len(values) != len(inputs):
            names = ", ".join(spec.name for spec in inputs)
            raise InputError(f"expected {len(inputs)} arrays ({names}), got {len(values)}")
    arrays = [
        checked(spec, as_array(spec, value, cast=False))
        for spec, value in zip(inputs, values, strict=True)
    ]
    for spec, array in zip(inputs, arrays, strict=True):
        is_float = array.dtype.kind not in "biuOSU"  # those of ml_dtypes are of kind V
        if is_float and not np.isfinite(array.astype(np.float64)).all():
            raise InputError(f"{spec.name}: expected finite values, got NaN or Inf")
    return arrays
