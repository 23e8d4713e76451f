"""Files that are read: ordinary ones only, so that nothing waits for ever or has no end.

Devices, pipes, sockets and folders are refused before they are opened: reading ``/dev/zero`` never
ends, and opening a pipe waits for somebody who writes into it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fasttrt.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_SIZE = 1024
"""More than a pointer ever has."""


class Version(NamedTuple):
    """What is different once a file was replaced, written or cut short."""

    device: int
    inode: int
    size: int
    modified: int
    """In nanoseconds."""


def check_file(path: str | os.PathLike[str]) -> Version:
    """See that a path leads to an ordinary file; nothing is opened.

    Raises:
        FileNotFoundError, PermissionError: there is none, or it cannot be reached.
        InputError: it is no ordinary file, or the path cannot be one: a loop of links, a name that
            is too long.
    """
    return _version(path, stat_of(path))


def is_utf8(path: Path) -> bool:
    """Whether a path can be given to who wants text; on Linux names may have any bytes."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in str(path))


def stat_of(path: str | os.PathLike[str]) -> os.stat_result:
    """``os.stat`` with the errors of `check_file`."""
    try:
        return Path(path).stat()
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} is no file: {error.strerror}") from None
    except ValueError as error:  # a null character
        raise InputError(f"{os.fspath(path)!r} is no file: {error}") from None


def kind_of(info: os.stat_result) -> str:
    """What is no ordinary file, in words; empty for an ordinary one."""
    if stat.S_ISREG(info.st_mode):
        return ""
    return _KINDS.get(stat.S_IFMT(info.st_mode), "no ordinary file")


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """An ordinary file, open.

    Raises:
        OSError, InputError: see `check_file`.
    """
    check_file(path)
    # Without waiting, should it have become a pipe meanwhile.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    with os.fdopen(os.open(path, flags), "rb") as stream:
        version_of(stream, path)
        yield stream


def version_of(stream: BinaryIO, path: str | os.PathLike[str]) -> Version:
    """Of an open file.

    Raises:
        InputError: it is no ordinary file.
    """
    return _version(path, os.fstat(stream.fileno()))


def read_file(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """The content of a file, as long as the file system says it is.

    Args:
        path: of the file.
        limit: in bytes.
        what: it should be, for messages: ``"a model"``.

    Raises:
        OSError: it cannot be read.
        InputError: see `check_file`; or it is larger than ``limit``.
    """
    with reading(path) as stream:
        size = version_of(stream, path).size
        if size > limit:
            raise InputError(
                f"{os.fspath(path)}: expected {what} of at most {limit} bytes, got {size}"
            )
        return stream.read(size)


def is_lfs_pointer(begin: bytes) -> bool:
    """Whether a file that begins so stands for one that Git LFS has not fetched."""
    return begin.startswith(_LFS)


def lfs_problem(path: str | os.PathLike[str], size: int) -> str:
    """What to say of a file that is a Git LFS pointer; empty for others. Few bytes are read."""
    if size >= _LFS_SIZE:
        return ""
    with reading(path) as stream:
        begin = stream.read(_LFS_SIZE)
    if not is_lfs_pointer(begin):
        return ""
    return f"{os.fspath(path)} is a Git LFS pointer of {size} bytes, not the file: `git lfs pull`"


def _version(path: str | os.PathLike[str], info: os.stat_result) -> Version:
    if kind := kind_of(info):
        raise InputError(f"{os.fspath(path)}: expected a file, got {kind}")
    return Version(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
