"""The cache of built engines: where it is, what it holds, and how to check and clear it.

``Engine("m.onnx")`` keeps what it builds in a folder of the user's, and takes it from there the
next time. An entry's key is the content of the model with its external data and everything else
that the plan depends on; see `Entry.parts`. Entries are plans as `Plan.save` writes them, private
to the user. The least recently used go when all of it exceeds ``$FASTTRT_CACHE_SIZE`` (20 GiB).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fasttrt._cache.folder import UntrustedError, default_path
from fasttrt._cache.store import PLANS, Store, StoredFile
from fasttrt._common.checks import as_user_path
from fasttrt.errors import EngineLoadError

__all__ = ["Entry", "clear", "entries", "evict", "path", "size", "verify"]


@dataclass(frozen=True)
class Entry:
    """A cached plan."""

    key: str
    """The SHA-256 of `parts`."""
    path: Path
    """The plan's file."""
    size: int
    """Of the file, in bytes."""
    used: datetime
    """When it was built or opened last."""
    metadata: Mapping[str, Any] = field(repr=False)
    """See `Plan.metadata`; empty if there is a ``problem``."""
    problem: str = ""
    """Why the entry will not be used; empty if nothing is known against it."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """What the key was made of.

        ``model_sha256``, ``config``, ``shapes``, ``library``, ``gpu``, ``environment``, ``extra``,
        ``fasttrt`` (our version) and ``format`` (the plan file's).
        """
        found: Mapping[str, Any] = self.metadata.get("cache", {})
        return found


def path() -> Path:
    """The folder: ``$FASTTRT_CACHE_DIR``, else the user's cache folder. It need not exist."""
    return default_path()


def entries(folder: str | os.PathLike[str] | None = None) -> list[Entry]:
    """The cached plans, the most recently used first. Their checksums are not looked at.

    Args:
        folder: the cache; None for `path`.
    """
    store = _store(folder)
    return [_entry(store, file) for file in reversed(store.files(PLANS))]


def size(folder: str | os.PathLike[str] | None = None) -> int:
    """The size of everything in the cache (None: in `path`), in bytes."""
    return sum(file.size for file in _store(folder).files())


def verify(folder: str | os.PathLike[str] | None = None, *, remove: bool = False) -> list[Entry]:
    """Look at every plan's checksum, key and permissions.

    Args:
        folder: the cache; None for `path`.
        remove: delete those that are damaged.

    Returns:
        The entries that have a ``problem``. They would be built anew when next asked for.
    """
    store = _store(folder)
    damaged = []
    for file in store.files(PLANS):
        if problem := store.problem(file):
            damaged.append(_entry(store, file, problem))
            if remove:
                store.remove(file)
    return damaged


def clear(folder: str | os.PathLike[str] | None = None) -> int:
    """Remove everything but what some process is building at the moment.

    Args:
        folder: the cache; None for `path`.

    Returns:
        The bytes that this freed.
    """
    return evict(0, folder)


def evict(limit: int | None = None, folder: str | os.PathLike[str] | None = None) -> int:
    """Remove the least recently used files until the cache holds ``limit`` bytes at most.

    Args:
        limit: None for ``$FASTTRT_CACHE_SIZE``, or 20 GiB.
        folder: the cache; None for `path`.

    Returns:
        The bytes that this freed.
    """
    return sum(file.size for file in _store(folder).evict(limit))


def _store(folder: str | os.PathLike[str] | None) -> Store:
    return Store(path() if folder is None else as_user_path("folder", folder, "a folder"))


def _entry(store: Store, file: StoredFile, problem: str = "") -> Entry:
    metadata: Mapping[str, Any] = {}
    if not problem:
        try:
            metadata = store.metadata(file)
        except (OSError, EngineLoadError, UntrustedError) as error:
            problem = str(error)
    return Entry(file.key, file.path, file.size, _moment(file.used), metadata, problem)


def _moment(seconds: float) -> datetime:
    """A file's time, which may be beyond those that datetime knows."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=timezone.utc)
