"""Libraries of TensorRT plugins: loaded for the caller, recorded with the plan.

A plugin library is code that runs in this process. It is loaded because the caller names it, never
because a plan does.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import as_path, refuse
from fasttrt._common.input_file import check_file, reading
from fasttrt._library.tensorrt_log import forwarded
from fasttrt.errors import Error, InputError

Plugins: TypeAlias = Iterable[str | os.PathLike[str]]
Record: TypeAlias = dict[str, str]

# By the library that they were loaded into and their file: what they held then.
_loaded: dict[tuple[str, Path], str] = {}
_lock = threading.Lock()


def describe(plugins: Plugins) -> list[Record]:
    """File name (``name``) and SHA-256 (``sha256``) of each, in order. Loads nothing.

    Raises:
        InputError: no sequence of files, or one that cannot be read; names it.
    """
    return [{"name": file.name, "sha256": _digest(file)} for file in _files(plugins)]


def load(library: _core.Library, plugins: Plugins) -> list[Record]:
    """Register them with a TensorRT, once in this process, and `describe` them.

    Raises:
        InputError: see `describe`.
        Error: TensorRT cannot load one (quotes its log), or its file has changed since this process
            loaded it, which cannot be undone.
        UnsupportedLibraryError, CudaError: the library takes no plugins, or none without a GPU.
    """
    records = []
    for file in _files(plugins):
        digest = _digest(file)
        with _lock, forwarded():
            known = _loaded.get((library.path, file))
            if known not in (None, digest):
                raise Error(
                    f"plugins: {file} has changed since this process loaded it; it takes a new "
                    "process to load it again"
                )
            library.load_plugins(os.fspath(file))
            _loaded[library.path, file] = digest
        records.append({"name": file.name, "sha256": digest})
    return records


def not_given(wanted: Sequence[Mapping[str, Any]], given: Sequence[Record]) -> str:
    """Which of a plan's plugins the caller has not given, in a sentence; empty if none."""
    by_name = {record["name"]: record["sha256"] for record in given}
    digests = set(by_name.values())
    parts = []
    for plugin in wanted:
        name, digest = str(plugin.get("name")), str(plugin.get("sha256"))
        if digest in digests:
            continue
        other = by_name.get(name)
        now = f", and the {name} given has {other[:12]}…" if other else ""
        parts.append(f"{name} (SHA-256 {digest[:12]}…{now})")
    if not parts:
        return ""
    return (
        f"the plan was built with plugins that were not given: {', '.join(parts)}. "
        "Plugins are loaded only from plugins=[...]"
    )


def as_files(plugins: Plugins) -> tuple[str | os.PathLike[str], ...]:
    """The paths, without looking at the files.

    Raises:
        InputError: for anything else.
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
        if size == 0:  # as files of /proc, which may have no end
            raise InputError(f"plugins: expected a library, got the empty file {path}")
        files.append(path.resolve())
    return files


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with reading(file) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"plugins: {file} cannot be read: {error}") from None
    return digest.hexdigest()
