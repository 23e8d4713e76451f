"""Reading of regular files only, so that no read blocks or goes on forever.

Devices, pipes, sockets and folders are rejected before they are opened: reading ``/dev/zero`` never
ends, and opening a pipe blocks until somebody writes to it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fasttrt.errors import InputError, MissingFileError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_SIZE = 1024
"""The size of a pointer file is always below this."""


class Version(NamedTuple):
    """The facts that change when a file is replaced, written or truncated."""

    device: int
    inode: int
    size: int
    modified: int
    """The time of the last change, in nanoseconds."""


def check_file(path: str | os.PathLike[str]) -> Version:
    """Check that a path leads to a regular file, without opening it.

    Raises:
        MissingFileError: it does not exist.
        PermissionError: it cannot be accessed.
        InputError: it is not a regular file, or the path is invalid: empty, a loop of symbolic
            links, a name that is too long.
    """
    return _version(path, stat_of(path))


def is_utf8(path: Path) -> bool:
    """Return whether a path is valid text; on Linux, file names may consist of any bytes."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in str(path))


def stat_of(path: str | os.PathLike[str]) -> os.stat_result:
    """Call ``os.stat``, but raise the errors of `check_file`."""
    if not os.fspath(path):  # which pathlib takes for the current folder
        raise InputError("expected the path of a file, got ''")
    try:
        return Path(path).stat()
    except FileNotFoundError as error:
        raise _missing(path, error) from None
    except PermissionError:
        raise
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} is not a file: {error.strerror}") from None
    except ValueError as error:  # a null character
        raise InputError(f"{os.fspath(path)!r} is not a file: {error}") from None


def kind_of(info: os.stat_result) -> str:
    """Describe what a path leads to; empty for a regular file."""
    if stat.S_ISREG(info.st_mode):
        return ""
    return _KINDS.get(stat.S_IFMT(info.st_mode), "something that is not a regular file")


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises:
        OSError, InputError: see `check_file`.
    """
    check_file(path)
    # Without blocking, in case a pipe has replaced the file since the check.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:  # it was deleted since the check
        raise _missing(path, error) from None
    with os.fdopen(descriptor, "rb") as stream:
        version_of(stream, path)
        yield stream


def version_of(stream: BinaryIO, path: str | os.PathLike[str]) -> Version:
    """Return the `Version` of an open file.

    Raises:
        InputError: it is not a regular file.
    """
    return _version(path, os.fstat(stream.fileno()))


def read_file(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """Read a whole regular file.

    Args:
        path: the file.
        limit: the maximum size, in bytes.
        what: what the file should be, for messages, as in ``"a model"``.

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
    """Return whether a file that begins so is a pointer to one that Git LFS has not fetched."""
    return begin.startswith(_LFS)


def lfs_problem(path: str | os.PathLike[str], size: int) -> str:
    """Return the message for a file that is a Git LFS pointer; empty for other files."""
    if size >= _LFS_SIZE:
        return ""
    with reading(path) as stream:
        begin = stream.read(_LFS_SIZE)
    if not is_lfs_pointer(begin):
        return ""
    return f"{os.fspath(path)} is a Git LFS pointer of {size} bytes, not the file: `git lfs pull`"


def _missing(path: str | os.PathLike[str], error: FileNotFoundError) -> MissingFileError:
    return MissingFileError(error.errno, error.strerror, os.fspath(path))


def _version(path: str | os.PathLike[str], info: os.stat_result) -> Version:
    if kind := kind_of(info):
        raise InputError(f"{os.fspath(path)}: expected a file, got {kind}")
    return Version(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
