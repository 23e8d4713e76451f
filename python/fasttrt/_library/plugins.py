"""TensorRT plugin libraries: loaded for the caller, and listed in the plan's metadata.

A plugin library is code that runs in this process. It is loaded only if the caller names it, never
because a plan does.
"""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import as_path, refuse
from fasttrt._common.file_digest import file_sha256
from fasttrt._common.input_file import check_file
from fasttrt._library.tensorrt_log import forwarded
from fasttrt.errors import Error, InputError

Plugins: TypeAlias = Iterable[str | os.PathLike[str]]
Record: TypeAlias = dict[str, str]

# Digests of the plugins' files when they were loaded, by TensorRT library and file.
_loaded: dict[tuple[str, Path], str] = {}
_lock = threading.Lock()


def describe(plugins: Plugins) -> list[Record]:
    """Return each file's ``name`` and ``sha256``, in order, without loading anything.

    Raises:
        InputError: ``plugins`` is not a sequence of files, or one cannot be read.
    """
    return [{"name": file.name, "sha256": _digest(file)} for file in _files(plugins)]


def load(library: _core.Library, plugins: Plugins) -> list[Record]:
    """Load plugins into a TensorRT, once in this process, and `describe` them.

    Raises:
        InputError: see `describe`.
        Error: TensorRT cannot load one (the message quotes its log), or its file has changed since
            this process loaded it, which cannot be undone.
        UnsupportedLibraryError, CudaError: the library does not support plugins, or not without a
            GPU.
    """
    records = []
    for file in _files(plugins):
        digest = _digest(file)
        with _lock, forwarded():
            known = _loaded.get((library.path, file))
            if known not in (None, digest):
                raise Error(
                    f"plugins: {file} has changed since this process loaded it; start a new "
                    "process to load it again"
                )
            library.load_plugins(os.fspath(file))
            _loaded[library.path, file] = digest
        records.append({"name": file.name, "sha256": digest})
    return records


def missing_plugins(required: Sequence[Mapping[str, Any]], passed: Sequence[Record]) -> str:
    """Name the plugins of a plan that the caller did not pass, in a sentence; empty if none."""
    by_name = {record["name"]: record["sha256"] for record in passed}
    digests = set(by_name.values())
    parts = []
    for plugin in required:
        name, digest = str(plugin.get("name")), str(plugin.get("sha256"))
        if digest in digests:
            continue
        other = by_name.get(name)
        mismatch = f", but the {name} passed has {other[:12]}…" if other else ""
        parts.append(f"{name} (SHA-256 {digest[:12]}…{mismatch})")
    if not parts:
        return ""
    return (
        f"the plan was built with plugins that were not passed: {', '.join(parts)}. "
        "Plugins are loaded only from plugins=[...]"
    )


def as_files(plugins: Plugins) -> tuple[str | os.PathLike[str], ...]:
    """Return the plugins' paths, without accessing the files.

    Raises:
        InputError: ``plugins`` is not a sequence of paths.
    """
    if isinstance(plugins, (str, bytes, os.PathLike)) or not isinstance(plugins, Iterable):
        refuse("plugins", 'files, as in ["libmy.so"]', plugins)
    return tuple(as_path("plugins", file, "the path of a library") for file in plugins)


def _files(plugins: Plugins) -> list[Path]:
    files = []
    for plugin in as_files(plugins):
        path = Path(plugin)
        try:
            size = check_file(path).size
        except (OSError, InputError) as error:
            raise InputError(f"plugins: there is no file {path}: {error}") from None
        if size == 0:  # as files in /proc, which may be endless
            raise InputError(f"plugins: expected a library, got the empty file {path}")
        files.append(path.resolve())
    return files


def _digest(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise InputError(f"plugins: cannot read {file}: {error}") from None
