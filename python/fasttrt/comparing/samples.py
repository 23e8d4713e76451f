"""Inputs that the caller gives, as arrays or in files."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fasttrt._arguments import host_array
from fasttrt.arrays import is_device_array
from fasttrt.errors import InputError
from fasttrt.spec import TensorSpec

Array: TypeAlias = np.ndarray[Any, Any]
Named: TypeAlias = dict[str, Array]
Inputs: TypeAlias = (
    "Mapping[str, Any] | Array | tuple[Any, ...] | Iterable[Any] | str | os.PathLike[str]"
)
"""One sample (a mapping, an array, a tuple of arrays), an iterable of such, or saved ones."""


def given_samples(inputs: Inputs, specs: tuple[TensorSpec, ...]) -> Iterator[Named]:
    """Arrays by name, a mapping for each sample.

    Raises:
        InputError: for what is no sample, or files that hold none.
    """
    if isinstance(inputs, (str, os.PathLike)):
        yield from _saved(Path(inputs), specs)
    elif _is_sample(inputs):
        yield _named(inputs, specs)
    else:
        for item in inputs:
            yield _named(item, specs)


def _is_sample(inputs: Any) -> bool:
    """Whether it is one sample: a framework's array is iterable too, but is no list of samples."""
    is_array = hasattr(inputs, "__array__") or hasattr(inputs, "__dlpack__")
    return is_array or isinstance(inputs, (Mapping, tuple)) or not isinstance(inputs, Iterable)


def _array(name: str, value: Any) -> Array:
    if is_device_array(value):
        raise InputError(
            f"{name}: expected an array in the host's memory, got {type(value).__name__} on a GPU"
        )
    return host_array(name, value)


def _named(item: Any, specs: tuple[TensorSpec, ...]) -> Named:
    if isinstance(item, Mapping):
        return {str(name): _array(str(name), value) for name, value in item.items()}
    arrays = item if isinstance(item, tuple) else (item,)
    if len(arrays) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise InputError(f"inputs: expected {len(specs)} arrays ({names}), got {len(arrays)}")
    return {spec.name: _array(spec.name, array) for spec, array in zip(specs, arrays, strict=True)}


def _saved(path: Path, specs: tuple[TensorSpec, ...]) -> Iterator[Named]:
    """A ``.npz`` is a sample, with an array for each input. A ``.npy`` is one for a single input.

    A folder holds such files, in the order of their names; or, for several inputs, one ``.npy``
    for each, named after it.
    """
    if not path.is_dir():
        yield _load(path, specs)
        return
    files = sorted(file for file in path.iterdir() if file.suffix in {".npy", ".npz"})
    if not files:
        raise InputError(f"inputs: expected .npy or .npz files in {path}, it holds none")
    names = {spec.name for spec in specs}
    if {file.stem for file in files} == names and all(f.suffix == ".npy" for f in files):
        yield {file.stem: _typed(_content(file), file.stem, specs) for file in files}
        return
    for file in files:
        yield _load(file, specs)


def _load(file: Path, specs: tuple[TensorSpec, ...]) -> Named:
    if file.suffix not in {".npy", ".npz"}:
        raise InputError(f"inputs: expected a .npy or .npz file or a folder of them, got {file}")
    content = _content(file)
    if isinstance(content, dict):
        return {name: _typed(array, name, specs) for name, array in content.items()}
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputError(
            f"inputs: {file} holds one array, the model has {len(specs)} inputs: give a .npz with "
            f"arrays named {names}"
        )
    return {specs[0].name: _typed(content, specs[0].name, specs)}


def _content(file: Path) -> Any:
    """The array of a ``.npy``, or those of a ``.npz`` by name."""
    try:
        content = np.load(file)  # never pickled objects, which are programs
        if file.suffix != ".npz":
            return content
        with content:
            return dict(content)
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy raises ValueError, EOFError, BadZipFile, ...
        raise InputError(f"inputs: {file} cannot be read: {error}") from error


def _typed(array: Array, name: str, specs: tuple[TensorSpec, ...]) -> Array:
    """With its type back, if it is one of ml_dtypes: numpy saves those as plain bytes."""
    spec = next((spec for spec in specs if spec.name == name), None)
    if spec is not None and array.dtype.kind == "V" and array.dtype.itemsize == spec.dtype.itemsize:
        return array.view(spec.dtype)
    return array
