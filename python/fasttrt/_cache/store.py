"""The cache's content: plans by key, and the small files beside them."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttrt._cache.folder import CacheFolder, UntrustedError, size_limit, touch
from fasttrt._cache.key import digest_of
from fasttrt._cache.lock import try_entry_lock
from fasttrt._common.log import logger
from fasttrt._plan.plan_file import Plan, peek
from fasttrt.errors import EngineLoadError

PLANS, TIMINGS, KERNELS = "plans", "timings", "kernels"
_SUFFIXES = {PLANS: ".plan", TIMINGS: ".timings", KERNELS: ".kernels"}
_PARTIAL = ".partial"
_ABANDONED = 3600  # seconds after which an unfinished file is garbage


@dataclass(frozen=True)
class StoredFile:
    """A file of the cache."""

    path: Path
    size: int
    used: float
    """When it was last written or read, in seconds since 1970."""

    @property
    def key(self) -> str:
        """The key, for a plan."""
        return self.path.stem


class Store:
    """Plans in a folder, by key."""

    def __init__(self, root: Path) -> None:
        """Use a folder, which need not exist.

        Raises:
            InputError: ``$FASTTRT_CACHE_SIZE`` is not a size.
        """
        self.folder = CacheFolder(root)
        self.limit = size_limit()

    def path_of(self, key: str) -> Path:
        """Return the path of an entry."""
        return self.folder.root / PLANS / f"{key}{_SUFFIXES[PLANS]}"

    def read(self, parts: dict[str, Any], quietly: bool = False) -> Plan | None:
        """Read the plan with this key; None if there is none, or it is invalid.

        The problem of an invalid plan is logged, unless ``quietly``.
        """
        path = self.path_of(digest_of(parts))
        try:
            plan = self._load(path, touching=True)
            _check_parts(path, plan.metadata, parts)
        except FileNotFoundError:
            return None
        except (OSError, EngineLoadError, UntrustedError) as error:
            if not quietly:
                logger.warning("the cache's entry is not used: %s", error)
            return None
        return plan

    def write(self, plan: Plan) -> None:
        """Store a plan, and evict files if the cache is then too large.

        The caller holds the entry's lock. A failure to write is logged once.
        """
        key = digest_of(plan.metadata["cache"])
        path = self.path_of(key)
        if len(plan.data) > self.limit:
            logger.warning(
                "the plan of %d bytes is not cached: the cache may hold %d", len(plan.data),
                self.limit,
            )  # fmt: skip
            return
        try:
            for partial in path.parent.glob(f"{path.name}.*{_PARTIAL}"):
                partial.unlink(missing_ok=True)  # left by a killed process
            with self.folder.replacing(path) as stream:
                plan.write(stream)
        except (OSError, UntrustedError) as error:
            self.folder.warn_once("does not take the plan", error)
        self.evict(keep=path)

    def files(self, *kinds: str) -> list[StoredFile]:
        """List all files of these kinds (default: all kinds), the least recently used first."""
        files = [file for kind in kinds or _SUFFIXES for file in self._of_kind(kind)]
        return sorted(files, key=lambda file: (file.used, file.path))

    def metadata(self, file: StoredFile) -> dict[str, Any]:
        """Read a plan's metadata, without verifying its checksum.

        Raises:
            EngineLoadError, UntrustedError, OSError: it cannot be read.
        """
        with self.folder.open(file.path) as stream:
            return peek(stream, str(file.path))

    def problem(self, file: StoredFile) -> str:
        """Check a plan's checksum, key and permissions; return what is wrong, "" for nothing."""
        try:
            metadata = self._load(file.path).metadata
            _check_parts(file.path, metadata, metadata.get("cache"))
        except (OSError, EngineLoadError, UntrustedError) as error:
            return str(error)
        return ""

    def evict(self, limit: int | None = None, keep: Path | None = None) -> list[StoredFile]:
        """Remove the least recently used files until ``limit`` bytes (None: the cache's) are left.

        Entries that a process is building stay, and so does ``keep``.
        """
        self._sweep()
        files = self.files()
        total, limit = sum(file.size for file in files), self.limit if limit is None else limit
        removed = []
        for file in files:
            if total <= limit:
                break
            if file.path != keep and self.remove(file):
                total -= file.size
                removed.append(file)
        return removed

    def remove(self, file: StoredFile) -> bool:
        """Remove a file, unless its entry is being built; return whether it was removed."""
        try:
            if file.path.parent.name != PLANS:
                file.path.unlink(missing_ok=True)
                return True
            with try_entry_lock(self.folder, file.key) as is_free:
                if is_free:
                    file.path.unlink(missing_ok=True)
                return is_free
        except OSError as error:
            self.folder.warn_once("cannot be cleared", error)
            return False

    def _load(self, path: Path, touching: bool = False) -> Plan:
        with self.folder.open(path) as stream:
            plan = Plan.read(stream, str(path))
            if touching:
                touch(stream)
            return plan

    def _of_kind(self, kind: str) -> Iterator[StoredFile]:
        for path, info in _scan(self.folder.root / kind):
            if path.suffix == _SUFFIXES[kind]:
                yield StoredFile(path, info.st_size, info.st_mtime)

    def _sweep(self) -> None:
        """Remove files that killed processes left incomplete."""
        for kind in _SUFFIXES:
            for path, info in _scan(self.folder.root / kind):
                if path.suffix == _PARTIAL and time.time() - info.st_mtime > _ABANDONED:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)


def _scan(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files of a folder, without following links or failing on vanished files."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        with suppress(OSError):
            info = path.lstat()
            if stat.S_ISREG(info.st_mode):
                yield path, info


def _check_parts(path: Path, metadata: dict[str, Any], parts: object) -> None:
    """Check that a plan is the one that its file name says.

    Raises:
        EngineLoadError: it was built from another model, or differently.
    """
    actual = metadata.get("cache")
    if not isinstance(actual, dict) or actual != parts or digest_of(actual) != path.stem:
        raise EngineLoadError(f"{path} does not contain the plan that its name says")
