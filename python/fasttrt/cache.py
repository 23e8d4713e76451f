"""The cache of built engines: its location and content, and how to verify and clear it.

``Engine("m.onnx")`` stores what it builds in the user's cache folder, and reuses it the next time.
An entry's key is made from the content of the model, with its external data, and everything else
that the plan depends on; see `Entry.parts`. Entries are plans as `Plan.save` writes them, private
to the user. The least recently used ones are removed when the cache exceeds
``$FASTTRT_CACHE_SIZE`` (20 GiB).
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
    """The SHA-256 of `parts`, in hexadecimal."""
    path: Path
    """The plan's file."""
    size: int
    """The size of the file, in bytes."""
    used: datetime
    """When it was last built or loaded."""
    metadata: Mapping[str, Any] = field(repr=False)
    """The plan's metadata, see `Plan`; empty if there is a ``problem``."""
    problem: str = ""
    """Why the entry will not be used; empty if no reason is known."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """What the key was made from.

        ``model_sha256``, ``config``, ``shapes``, ``library``, ``gpu``, ``environment``, ``extra``,
        ``fasttrt`` (its version) and ``format`` (the plan file's).
        """
        parts: Mapping[str, Any] = self.metadata.get("cache", {})
        return parts


def path() -> Path:
    """Return the folder: ``$FASTTRT_CACHE_DIR``, or else the user's cache folder; it may not exist.

    Examples:
        >>> fasttrt.cache.path()
        PosixPath('...')
    """
    return default_path()


def entries(folder: str | os.PathLike[str] | None = None) -> list[Entry]:
    """List the cached plans, the most recently used first, without verifying their checksums.

    Args:
        folder: the cache; None for `path`.

    Examples:
        >>> for entry in fasttrt.cache.entries():
        ...     print(entry.path.name, entry.size, entry.used)
    """
    store = _store(folder)
    return [_entry(store, file) for file in reversed(store.files(PLANS))]


def size(folder: str | os.PathLike[str] | None = None) -> int:
    """Return the size of everything in the cache (None: in `path`), in bytes.

    Examples:
        >>> fasttrt.cache.size() <= 20 << 30
        True
    """
    return sum(file.size for file in _store(folder).files())


def verify(folder: str | os.PathLike[str] | None = None, *, remove: bool = False) -> list[Entry]:
    """Check every plan's checksum, key and permissions.

    Args:
        folder: the cache; None for `path`.
        remove: whether to delete damaged entries.

    Returns:
        The entries that have a ``problem``. They would be rebuilt when next needed.

    Examples:
        >>> for entry in fasttrt.cache.verify(remove=True):
        ...     print(entry.path, entry.problem)
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
    """Remove everything except entries that a process is currently building.

    Args:
        folder: the cache; None for `path`.

    Returns:
        The number of bytes freed.

    Examples:
        >>> freed = fasttrt.cache.clear()
        >>> fasttrt.cache.size()
        0
    """
    return evict(0, folder)


def evict(limit: int | None = None, folder: str | os.PathLike[str] | None = None) -> int:
    """Remove the least recently used files until the cache holds at most ``limit`` bytes.

    Args:
        limit: the limit in bytes; None for ``$FASTTRT_CACHE_SIZE``, or 20 GiB.
        folder: the cache; None for `path`.

    Returns:
        The number of bytes freed.

    Examples:
        >>> fasttrt.cache.evict(5 << 30)
        0
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
    """Convert a file's time, clamped to datetime's range."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=timezone.utc)
