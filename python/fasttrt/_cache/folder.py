"""The cache's folders: their location, permissions and trust."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fasttrt._common.checks import as_user_path
from fasttrt._common.log import logger
from fasttrt._common.output_file import PRIVATE, replacing
from fasttrt.errors import Error

FOLDER_VARIABLE = "FASTTRT_CACHE_DIR"
SIZE_VARIABLE = "FASTTRT_CACHE_SIZE"
_DEFAULT_SIZE = 20 << 30  # about a hundred engines of common size

_warned: set[tuple[Path, str, object]] = set()


class UntrustedError(Error):
    """A file or folder that other users may have written: plans are code."""


def default_path() -> Path:
    """Return ``$FASTTRT_CACHE_DIR``, or else the user's cache folder."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return as_user_path(FOLDER_VARIABLE, folder, "a folder")
    from platformdirs import user_cache_path

    return user_cache_path("fasttrt", appauthor=False)


def parse_cache(cache: bool | str | os.PathLike[str]) -> Path | None:
    """Return the folder for ``Engine(cache=…)``; None for no cache.

    Raises:
        InputError: ``cache`` is neither True, False nor a path.
    """
    if isinstance(cache, bool):
        return default_path() if cache else None
    return as_user_path("cache", cache, "True, False or a folder")


def size_limit() -> int:
    """Return ``$FASTTRT_CACHE_SIZE`` in bytes, or else 20 GiB.

    Raises:
        InputError: the variable is not a size.
    """
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return _DEFAULT_SIZE
    from fasttrt._common.byte_size import parse_byte_size  # here, as few set the variable

    return parse_byte_size(SIZE_VARIABLE, text)


class CacheFolder:
    """A folder of private files; a broken or full disk only causes warnings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def open(self, file: Path) -> Iterator[BinaryIO]:
        """Open a file for reading if no other user could have written it.

        Raises:
            FileNotFoundError: it does not exist.
            UntrustedError: other users may write it, or the cache's folder.
            OSError: it cannot be read.
        """
        self._check(self.root)
        self._check(file.parent)
        # A symbolic link is an error; a pipe does not block.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(file, flags), "rb") as stream:
            _check_owner(file, os.fstat(stream.fileno()), stat.S_ISREG)
            yield stream

    def prepare(self, file: Path) -> None:
        """Create the folder of a file.

        Raises:
            UntrustedError: other users may write to it.
            OSError: it cannot be created.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check(self.root)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        self._check(file.parent)

    @contextmanager
    def replacing(self, file: Path) -> Iterator[BinaryIO]:
        """Open a new private file that replaces ``file`` when the block succeeds.

        Raises:
            UntrustedError, OSError: see `prepare`.
        """
        self.prepare(file)
        with replacing(file, PRIVATE) as stream:
            yield stream

    def warn_once(self, doing: str, error: Exception) -> None:
        """Warn of something that the cache could not do, once per process."""
        kind = getattr(error, "errno", None) or type(error)
        if (self.root, doing, kind) not in _warned:
            _warned.add((self.root, doing, kind))
            logger.warning("the cache in %s %s: %s", self.root, doing, error)

    def _check(self, folder: Path) -> None:
        _check_owner(folder, folder.stat(), stat.S_ISDIR)


def touch(stream: BinaryIO) -> None:
    """Update a file's time of last use."""
    with suppress(OSError):  # a read-only disk
        os.utime(stream.fileno())


def _check_owner(path: Path, info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    kind = "folder" if is_kind is stat.S_ISDIR else "file"
    if not is_kind(info.st_mode):
        raise UntrustedError(f"{path} is not a {kind}")
    if info.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"{path} belongs to user {info.st_uid}, and plans are code")
    if info.st_mode & 0o022:
        raise UntrustedError(
            f"other users may write {path} (mode {stat.S_IMODE(info.st_mode):o}), and plans are "
            "code; chmod go-w prevents that"
        )
