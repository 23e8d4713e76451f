"""Samples in files: ``.npz``, ``.npy``, and folders of them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fasttrt._common.host_array import Array
from fasttrt._common.input_file import is_lfs_pointer, kind_of, reading, stat_of
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt.errors import FileError, InputError

Named: TypeAlias = dict[str, Array]

_SUFFIXES = (".npy", ".npz")


def saved_samples(
    path: str | os.PathLike[str], specs: Sequence[TensorSpec], what: str = "inputs"
) -> Iterator[tuple[str, Named]]:
    """Yield, for each sample, the name of its file or folder and its arrays by name.

    A ``.npz`` is a sample, with an array for each input. A ``.npy`` is one of a single input. A
    folder contains such files, which are read in the order of their names; or, for several inputs,
    one ``.npy`` named after each input.

    Args:
        path: a file or a folder.
        specs: the model's inputs.
        what: what the samples are, for messages.

    Raises:
        MissingFileError: it does not exist.
        InputError: it contains no samples, or a file is damaged.
    """
    path = Path(path)
    files = saved_files(path, what)
    names = {spec.name for spec in specs}
    is_one_each = {file.stem for file in files} == names and path not in files
    if is_one_each and all(file.suffix == ".npy" for file in files):
        yield path.name, {f.stem: _typed(_array(f, what), f.stem, specs) for f in files}
        return
    for file in files:
        yield file.name, _sample(file, specs, what)


def saved_files(path: str | os.PathLike[str] | None, what: str = "inputs") -> list[Path]:
    """List the files that `saved_samples` reads; none for None.

    Raises:
        InputError: as `saved_samples`, without reading the files.
    """
    if path is None:
        return []
    path = Path(path)
    if kind_of(stat_of(path)) != "a folder":
        if path.suffix not in _SUFFIXES:
            raise InputError(
                f"{what}: expected a .npy or .npz file or a folder of them, got {path}"
            )
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        raise InputError(f"{what}: expected .npy or .npz files in {path}, got none")
    return files


def _sample(file: Path, specs: Sequence[TensorSpec], what: str) -> Named:
    content = _content(file, what)
    if isinstance(content, dict):
        return {name: _typed(array, name, specs) for name, array in content.items()}
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputError(
            f"{what}: {file} contains one array, but the model has {len(specs)} inputs: use a .npz "
            f"with arrays named {names}"
        )
    return {specs[0].name: _typed(content, specs[0].name, specs)}


def _array(file: Path, what: str) -> Array:
    content = _content(file, what)
    if isinstance(content, dict):
        raise FileError(f"{what}: {file} cannot be read: it is an archive, not an array")
    return content


def _content(file: Path, what: str) -> Array | Named:
    """Read the array of a ``.npy``, or those of a ``.npz`` by name."""
    try:
        with reading(file) as stream:
            if is_lfs_pointer(stream.read(64)):
                raise InputError("it is a Git LFS pointer, not the file: `git lfs pull`")
            stream.seek(0)
            content = np.load(stream, allow_pickle=False)  # pickled objects are programs
            if isinstance(content, np.ndarray):
                return content
            arrays = {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy raises ValueError, EOFError, BadZipFile, MemoryError, ...
        reason = str(error) or type(error).__name__
        raise FileError(f"{what}: {file} cannot be read: {reason}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy returns other members as bytes
            raise FileError(f"{what}: {file} cannot be read: its {name!r} is not an array")
    return arrays


def _typed(array: Array, name: str, specs: Sequence[TensorSpec]) -> Array:
    """Restore a dtype of ml_dtypes, which numpy saves as plain bytes."""
    spec = next((spec for spec in specs if spec.name == name), None)
    if spec is None or array.dtype.kind != "V" or array.dtype.fields is not None:
        return array
    if spec.dtype.kind == "V" and array.dtype.itemsize == spec.dtype.itemsize:
        return array.view(spec.dtype)
    return array
