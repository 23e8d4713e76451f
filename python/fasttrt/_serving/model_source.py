"""Where models are from: a repository, a single file, or the files of a load request."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol

from fasttrt._common.checks import shown
from fasttrt._common.input_file import Version, check_file
from fasttrt._common.log import logger
from fasttrt._serving.errors import UnknownModelError
from fasttrt._serving.loaded_model import ModelFiles
from fasttrt._serving.model_config import ModelConfig
from fasttrt._serving.repository import ModelFolder, Repository, is_model_name, is_version
from fasttrt.errors import InputError


class SourceFiles(ModelFiles, Protocol):
    """The files of a model, whose changes can be seen."""

    def state(self) -> dict[str, Version]:
        """Return the facts that change when one of its files does, by name."""
        ...


class ModelSource(Protocol):
    """Models by name."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all models."""
        ...

    def folder(self, name: str) -> SourceFiles:
        """Return the files of a model.

        Raises:
            UnknownModelError: there is none.
        """
        ...


@dataclass(frozen=True)
class SingleModel:
    """An ONNX model or a plan, as version 1 of a model that has nothing else."""

    name: str
    path: Path
    config: Path | None = None
    options: Path | None = None

    def versions(self) -> tuple[str, ...]:
        """Return the only version."""
        return ("1",)

    def model_file(self, version: str, config: ModelConfig) -> Path:
        """Return the file."""
        return self.path

    def labels(self, file: str) -> tuple[str, ...]:
        """Fail, as there are no other files."""
        self.inside(file)
        return ()

    def inside(self, file: str) -> Path:
        """Fail, as there are no other files."""
        raise InputError(f"{self.name}/{file}: expected a model repository, got a single file")

    def state(self) -> dict[str, Version]:
        """Return the facts that change when the file does."""
        return {self.path.name: check_file(self.path)}


class SingleFile:
    """A source of one model: a file, which gives it its name."""

    def __init__(self, path: Path, options: Path | None = None) -> None:
        """Take a model's file.

        Args:
            path: an ONNX model or a plan.
            options: a ``fasttrt.toml`` for it, or None.

        Raises:
            MissingFileError: there is no such file.
            InputError: it is not a file, or its name cannot be a model's.
        """
        check_file(path)
        if not is_model_name(path.stem):
            raise InputError(
                f"{path.name}: expected a name that is printable and not hidden, for the model"
            )
        self._model = SingleModel(path.stem, path.absolute(), options=options)

    def names(self) -> tuple[str, ...]:
        """Return the name of the only model."""
        return (self._model.name,)

    def folder(self, name: str) -> SourceFiles:
        """Return the file as a model's."""
        if name != self._model.name:
            raise UnknownModelError(f"Request for unknown model: {shown(name)} is not found")
        return self._model


def open_source(path: Path, options: Path | None = None) -> ModelSource:
    """Return a folder of models, or a single file, as a source.

    Raises:
        MissingFileError, InputError: it is neither.
    """
    return Repository(path) if path.is_dir() else SingleFile(path, options)


def open_served(path: Path, control: str) -> ModelSource:
    """Return the models of a server; a folder without any is an error unless some may come.

    Args:
        path: a folder of models, or a single file.
        control: who loads models after the start, see `Models`.

    Raises:
        MissingFileError, InputError: it is neither, or the folder has no models and gets none.
    """
    source = open_source(path)
    if isinstance(source, Repository) and (problem := source.problem()):
        if control == "none":
            raise InputError(problem)
        logger.warning("%s", problem)
    return source


def uploaded(
    name: str, files: Mapping[str, bytes]
) -> "tuple[TemporaryDirectory[str], ModelFolder]":
    """Write the files of a load request to a temporary folder, in a repository's layout.

    Args:
        name: the model's.
        files: contents by path, as in ``"1/model.onnx"``.

    Raises:
        InputError: a path leads out of the folder, or there is no version among them.
        OSError: they cannot be written.
    """
    if not is_model_name(name):
        raise InputError(f"model: expected a printable name, got {shown(name)}")
    for path in files:
        parts = PurePosixPath(path).parts
        if not 1 <= len(parts) <= 8 or any(not is_model_name(part) for part in parts):
            raise InputError(f"file {shown(path)}: expected a path in the model's folder")
    if not any(is_version(PurePosixPath(path).parts[0]) for path in files):
        raise InputError(f"files: expected some as 1/model.onnx, got {', '.join(files) or 'none'}")
    folder = TemporaryDirectory(prefix="fasttrt-model-")
    try:
        root = Path(folder.name).resolve()
        for path, content in files.items():
            target = root / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except BaseException:
        folder.cleanup()
        raise
    return folder, ModelFolder(name, root, root / name)
