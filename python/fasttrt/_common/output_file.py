"""Files that appear whole or not at all, and replace nothing that is of another kind."""

import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fasttrt._common.file_kinds import FileKind
from fasttrt._common.input_file import kind_of, reading, stat_of
from fasttrt.errors import InputError

PRIVATE = 0o600
"""The mode of a file for its owner alone."""
_LONGEST_PREFIX = 150
"""Bytes of a name that the name of the file before it is complete begins with."""


@dataclass(frozen=True)
class Output:
    """A file to be written.

    What is there already is replaced only if it is of the same kind and no input. Symbolic links
    are followed, devices and pipes are written into, and a file that is replaced keeps its mode.
    """

    path: Path
    kind: FileKind
    inputs: Sequence[str | os.PathLike[str]] = ()
    """What is read, and not replaced by its result: files, whatever the name or link to them."""
    force: bool = False
    """Replace inputs, and files of any kind."""

    def check(self, option: str = "") -> None:
        """See, before any work, whether the file may be written.

        Args:
            option: that names it, for messages: ``"--output"``.

        Raises:
            InputError: its folder does not exist; it is a folder, a socket or a disk; or it is a
                file that is not to be replaced.
            PermissionError: it cannot be reached.
        """
        before = f"{option}: " if option else ""
        if not (self.path.name and _is_folder(self.path.absolute().parent)):
            raise InputError(
                f"{before}expected a file in a folder that exists, got {str(self.path)!r}"
            )
        try:
            info = stat_of(self.path)
        except FileNotFoundError:
            return
        if stat.S_ISCHR(info.st_mode) or stat.S_ISFIFO(info.st_mode):
            return
        if kind := kind_of(info):
            raise InputError(
                f"{before}expected a file in a folder that exists, got {str(self.path)!r}, "
                f"which is {kind}"
            )
        if not self.force and (problem := self._loss(info)):
            raise InputError(
                f"{before}{str(self.path)!r} {problem}; it is replaced only with --force or "
                "force=True"
            )

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream for the new content; it takes the old one's place when it ends well.

        Raises:
            InputError: see `check`.
            OSError: it cannot be written.
        """
        self.check()
        try:
            info = stat_of(self.path)
        except FileNotFoundError:
            info = None
        if (info is not None and kind_of(info)) or self.path.absolute().is_relative_to("/dev"):
            with _Stream(io.FileIO(self.path, "wb")) as stream:
                yield stream
            return
        with replacing(self.path.resolve()) as stream:
            if info is not None:
                with suppress(PermissionError):  # the owner is kept where that is allowed
                    os.fchown(stream.fileno(), info.st_uid, info.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(info.st_mode))
            yield stream

    def _loss(self, info: os.stat_result) -> str:
        """Why the file that is there should stay; empty if it need not."""
        for given in self.inputs:
            with suppress(OSError):
                if os.path.samestat(info, Path(given).stat()):
                    return "is an input"
        if info.st_size == 0:
            return ""
        with reading(self.path) as stream:
            return "" if self.kind.matches(stream) else f"is not {self.kind.name}"


class _Stream(io.BufferedWriter):
    """A device or a pipe. Some devices say that they can be positioned, and stay at 0."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")

    def seek(self, target: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("seek")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A stream that takes the path's place when it ends, unless an exception ends it.

    Args:
        path: what is replaced; of a symbolic link the link itself, not what it points to.
        mode: the new file's permissions, less the umask.
    """
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_PREFIX])
    partial = path.with_name(f"{name}.{os.urandom(8).hex()}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
