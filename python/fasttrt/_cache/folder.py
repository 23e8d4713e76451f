"""Where the cache lies: its folders, their permissions, and who may be trusted with them."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fasttrt._common.checks import as_user_path
from fasttrt._common.log import logger
from fasttrt._common.output_file import PRIVATE, replacing
from fasttrt.errors import Error, InputError

FOLDER_VARIABLE = "FASTTRT_CACHE_DIR"
SIZE_VARIABLE = "FASTTRT_CACHE_SIZE"
_DEFAULT_SIZE = 20 << 30  # some hundred engines of common size
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?", re.I)

_warned: set[tuple[Path, str, object]] = set()


class UntrustedError(Error):
    """A file or folder that others may have written: what lies there is code."""


def default_path() -> Path:
    """``$FASTTRT_CACHE_DIR``, else the user's cache folder."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return as_user_path(FOLDER_VARIABLE, given, "a folder")
    from platformdirs import user_cache_path

    return user_cache_path("fasttrt", appauthor=False)


def chosen_path(cache: bool | str | os.PathLike[str]) -> Path | None:
    """The folder that ``Engine(cache=…)`` means; None for no cache.

    Raises:
        InputError: for what is neither True, False nor a path.
    """
    if isinstance(cache, bool):
        return default_path() if cache else None
    return as_user_path("cache", cache, "True, False or a folder")


def size_limit() -> int:
    """``$FASTTRT_CACHE_SIZE`` in bytes, else 20 GiB.

    Raises:
        InputError: it is set to something else.
    """
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return _DEFAULT_SIZE
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f'{SIZE_VARIABLE}: expected bytes, or as in "500M" or "20G", got {text!r}')
    return int(match[1]) << _UNITS[match[2].lower()]


class CacheFolder:
    """A folder of private files, in which a broken or full disk is survived."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def open(self, file: Path) -> Iterator[BinaryIO]:
        """A file to read, if nobody else could have written it.

        Raises:
            FileNotFoundError: there is none.
            UntrustedError: others may write it, or the cache's folder.
            OSError: it cannot be read.
        """
        self._check(self.root)
        self._check(file.parent)
        # A symbolic link is an error, a pipe does not block.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(file, flags), "rb") as stream:
            _check_owner(file, os.fstat(stream.fileno()), stat.S_ISREG)
            yield stream

    def prepare(self, file: Path) -> None:
        """Make the folder of a file.

        Raises:
            UntrustedError: others may write it.
            OSError: it cannot be made.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check(self.root)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        self._check(file.parent)

    @contextmanager
    def replacing(self, file: Path) -> Iterator[BinaryIO]:
        """A stream for a new private file that takes the place of ``file`` when it ends.

        Raises:
            UntrustedError, OSError: see `prepare`.
        """
        self.prepare(file)
        with replacing(file, PRIVATE) as stream:
            yield stream

    def warn_once(self, doing: str, error: Exception) -> None:
        """Say what the cache could not do, once in a process."""
        kind = getattr(error, "errno", None) or type(error)
        if (self.root, doing, kind) not in _warned:
            _warned.add((self.root, doing, kind))
            logger.warning("the cache in %s %s: %s", self.root, doing, error)

    def _check(self, folder: Path) -> None:
        _check_owner(folder, folder.stat(), stat.S_ISDIR)


def touch(stream: BinaryIO) -> None:
    """Note that a file was used."""
    with suppress(OSError):  # a read-only disk
        os.utime(stream.fileno())


def _check_owner(path: Path, info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    kind = "folder" if is_kind is stat.S_ISDIR else "file"
    if not is_kind(info.st_mode):
        raise UntrustedError(f"{path} is no {kind}")
    if info.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"{path} belongs to user {info.st_uid}, and plans are code")
    if info.st_mode & 0o022:
        raise UntrustedError(
            f"others may write {path} (mode {stat.S_IMODE(info.st_mode):o}), and plans are code; "
            "chmod go-w would end that"
        )
