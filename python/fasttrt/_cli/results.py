"""The results that ``fasttrt run`` saves: one archive, or a folder with one for each sample."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fasttrt._common.file_kinds import ARRAYS, arrays_of
from fasttrt._common.input_file import kind_of, stat_of
from fasttrt._common.output_file import Output
from fasttrt.errors import InputError

Write: TypeAlias = Callable[[str, Mapping[str, Any]], None]


class Results:
    """The files that ``--output`` names: a ``.npz``, or those in a folder."""

    def __init__(self, path: Path | None, inputs: Sequence[Path], force: bool) -> None:
        """Check, before any work, that the files can be written.

        Args:
            path: the value of ``--output``; None for none.
            inputs: the files that are read, which must not be replaced.
            force: whether to replace inputs, and files of other kinds.

        Raises:
            InputError: it is neither a ``.npz`` nor a folder, or would replace another file.
        """
        self.written: list[Path] = []
        self._kind = ARRAYS  # more is not known before the outputs are
        self._path, self._inputs, self._force = path, inputs, force
        is_stream = path is not None and _is_stream(path)
        self._is_folder = path is not None and (path.is_dir() or not (path.suffix or is_stream))
        if path is None:
            return
        if not self._is_folder and path.suffix != ".npz" and not is_stream:
            raise InputError(f"--output: expected a .npz or a folder, got {str(path)!r}")
        if not self._is_folder:
            self._output(path).check("--output")
        elif path.is_file() or not path.absolute().parent.is_dir():
            raise InputError(
                f"--output: expected a folder, or a new one in an existing folder, got "
                f"{str(path)!r}"
            )

    @contextmanager
    def writing(self, labels: Sequence[str], outputs: Sequence[str]) -> Iterator[Write]:
        """Yield a function that saves the outputs of a sample, by its label.

        Args:
            labels: what the samples are called.
            outputs: the outputs' names. A ``.npz`` of other arrays is not replaced.

        Raises:
            InputError: a file would be replaced that must not be.
        """
        self._kind = arrays_of(outputs)
        stems = [Path(label).stem for label in labels]
        names = dict(zip(labels, stems if len(set(stems)) == len(stems) else labels, strict=True))
        with ExitStack() as stack:
            if self._path is None:
                yield lambda label, outputs: None
            elif self._is_folder:
                self._path.mkdir(exist_ok=True)
                files = {label: self._path / f"{names[label]}.npz" for label in labels}
                for file in files.values():
                    self._output(file).check("--output")
                yield lambda label, outputs: self._save(files[label], outputs)
            else:
                self._output(self._path).check("--output")
                archive = stack.enter_context(self._archive(self._path))
                several = len(labels) > 1

                def add(label: str, outputs: Mapping[str, Any]) -> None:
                    _add(archive, f"{names[label]}/" if several else "", outputs)

                yield add

    def _save(self, path: Path, outputs: Mapping[str, Any]) -> None:
        with self._archive(path) as archive:
            _add(archive, "", outputs)

    @contextmanager
    def _archive(self, path: Path) -> Iterator[zipfile.ZipFile]:
        with self._output(path).open() as stream, zipfile.ZipFile(stream, "w") as archive:
            yield archive
        self.written.append(path)

    def _output(self, path: Path) -> Output:
        return Output(path, self._kind, self._inputs, self._force)


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device or a pipe, to which an archive is written."""
    try:
        return kind_of(stat_of(path)) in ("a device", "a pipe")
    except (OSError, InputError):
        return False


def _add(archive: zipfile.ZipFile, before: str, outputs: Mapping[str, Any]) -> None:
    for name, array in outputs.items():
        with archive.open(f"{before}{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.asanyarray(array))
