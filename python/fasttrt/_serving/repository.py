"""`Repository`: models in a folder, in Triton's layout, and nothing outside of it.

A model is a folder with a folder for each version, named by a number, which has the model's file.
Beside these may be a ``config.pbtxt``, a ``fasttrt.toml`` and files with labels.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from fasttrt._common.checks import as_user_path, shown
from fasttrt._common.input_file import Version, check_file, read_file
from fasttrt._serving.errors import UnknownModelError
from fasttrt._serving.model_config import ModelConfig
from fasttrt.errors import InputError

CONFIG = "config.pbtxt"
OPTIONS = "fasttrt.toml"
FILES = {"model.onnx": "onnxruntime_onnx", "model.plan": "tensorrt_plan"}
"""The default names of models' files, and Triton's names of the platforms that they are for."""
_VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_MAX_NAME = 255  # bytes
_MAX_LABELS = 16 << 20  # bytes


def is_version(text: str) -> bool:
    """Return whether a text is a version: a positive number."""
    return _VERSION.fullmatch(text) is not None


def is_model_name(name: str) -> bool:
    """Return whether a model may have this name: printable, without a slash, not hidden."""
    fits = 0 < len(name.encode(errors="replace")) <= _MAX_NAME
    return fits and name.isprintable() and "/" not in name and not name.startswith(".")


@dataclass(frozen=True)
class ModelFolder:
    """The files of one model."""

    name: str
    root: Path
    """The folder that no file may be outside of, resolved."""
    path: Path

    @property
    def config(self) -> Path | None:
        """Its ``config.pbtxt``, if there is one."""
        return self._optional(CONFIG)

    @property
    def options(self) -> Path | None:
        """Its ``fasttrt.toml``, if there is one."""
        return self._optional(OPTIONS)

    def versions(self) -> tuple[str, ...]:
        """Return all versions, ascending; folders with other names are none."""
        names = [entry.name for entry in self.path.iterdir() if is_version(entry.name)]
        return tuple(sorted((n for n in names if (self.path / n).is_dir()), key=int))

    def model_file(self, version: str, config: ModelConfig) -> Path:
        """Return the file of a version.

        Raises:
            InputError: it is missing, ambiguous, or outside of the repository.
        """
        folder = self.path / version
        name = config.default_model_filename
        if not name:
            names = [
                file
                for file, platform in FILES.items()
                if config.platform in ("", platform) and (folder / file).exists()
            ]
            if len(names) != 1:
                expected = " or ".join(
                    file for file, kind in FILES.items() if config.platform in ("", kind)
                )
                got = " and ".join(names) or "none"
                raise InputError(f"{self.name}/{version}: expected {expected}, got {got}")
            name = names[0]
        return self.inside(f"{version}/{name}")

    def labels(self, file: str) -> tuple[str, ...]:
        """Read a file with a label in each line.

        Raises:
            InputError: it is missing, not text, or outside of the repository.
        """
        content = read_file(self.inside(file), _MAX_LABELS, "labels")
        try:
            return tuple(line.strip() for line in content.decode().splitlines())
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name}/{file}: expected text: {error}") from None

    def inside(self, file: str) -> Path:
        """Return the resolved path of a file of the model.

        Raises:
            InputError: there is no such file, or it is outside of the repository, as by a link.
        """
        path = self.path / file
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root):
            raise InputError(f"{self.name}/{file}: expected a file in the model repository")
        if not resolved.is_file():
            raise InputError(f"{self.name}/{file}: expected a file, which does not exist")
        return resolved

    def state(self) -> dict[str, Version]:
        """Return the facts that change when one of its files does, by name."""
        files = [path for path in self.path.rglob("*") if path.is_file()]
        found = {}
        for path in files:
            try:
                found[str(path.relative_to(self.path))] = check_file(path)
            except (OSError, InputError):
                continue  # it was deleted, or replaced, meanwhile
        return found

    def _optional(self, file: str) -> Path | None:
        return self.inside(file) if (self.path / file).exists() else None


class Repository:
    """A folder of models."""

    def __init__(self, path: Path) -> None:
        """Open a folder.

        Raises:
            InputError: it is none.
        """
        self.path = as_user_path("models", path)
        if not self.path.is_dir():
            raise InputError(f"{path}: expected a folder of models, or a model's file")
        self.root = self.path.resolve()

    def names(self) -> tuple[str, ...]:
        """Return the names of all models, in alphabetical order; hidden folders are none."""
        return tuple(
            sorted(e.name for e in self.path.iterdir() if is_model_name(e.name) and e.is_dir())
        )

    def problem(self) -> str:
        """Say that there are no models, and what was expected; empty if there are some."""
        if self.names():
            return ""
        text = f"no model in {str(self.path)!r}: expected NAME/1/model.onnx or NAME/1/model.plan"
        files = sorted(f for f in self.path.iterdir() if f.suffix in (".onnx", ".plan"))
        return f"{text}; to serve a single file, pass {str(files[0])!r}" if files else text

    def folder(self, name: str) -> ModelFolder:
        """Return the folder of a model.

        Raises:
            UnknownModelError: there is none, or its name leads out of the repository.
        """
        path = self.path / name if is_model_name(name) else None
        if path is None or not path.is_dir() or not path.resolve().is_relative_to(self.root):
            raise UnknownModelError(f"Request for unknown model: {shown(name)} is not found")
        return ModelFolder(name, self.root, path)
