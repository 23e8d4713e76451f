"""Output files: written atomically, and never replacing a file of another kind."""

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
"""The mode of a file that only its owner may read and write."""
_MAX_PREFIX = 150
"""How many bytes of a file's name the name of its temporary file begins with."""


@dataclass(frozen=True)
class Output:
    """A file to be written.

    An existing file is replaced only if it is of the same kind and not an input. Symbolic links are
    followed, devices and pipes are written to, and a replaced file keeps its mode.
    """

    path: Path
    kind: FileKind
    inputs: Sequence[str | os.PathLike[str]] = ()
    """Files that are read, and which the output must not replace, whatever name leads to them."""
    force: bool = False
    """Whether to replace inputs, and files of any kind."""

    def check(self, option: str = "") -> None:
        """Check, before any work, whether the file may be written.

        Args:
            option: the option that names it, for messages, as in ``"--output"``.

        Raises:
            InputError: its folder does not exist; it is a folder, a socket or a disk; or it is a
                file that must not be replaced.
            PermissionError: it cannot be accessed.
        """
        before = f"{option}: " if option else ""
        if not (self.path.name and _is_folder(self.path.absolute().parent)):
            raise InputError(
                f"{before}expected a file in an existing folder, got {str(self.path)!r}"
            )
        try:
            info = stat_of(self.path)
        except FileNotFoundError:
            return
        if stat.S_ISCHR(info.st_mode) or stat.S_ISFIFO(info.st_mode):
            return
        if kind := kind_of(info):
            raise InputError(
                f"{before}expected a file in an existing folder, got {str(self.path)!r}, "
                f"which is {kind}"
            )
        if not self.force and (problem := self._loss(info)):
            force = "--force" if option.startswith("--") else "force=True"
            raise InputError(
                f"{before}{str(self.path)!r} {problem}; it is replaced only with {force}"
            )

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open a stream whose content replaces the file when the block succeeds.

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
        """Say why the existing file must not be replaced; empty if it may be."""
        for path in self.inputs:
            with suppress(OSError):
                if os.path.samestat(info, Path(path).stat()):
                    return "is an input"
        if info.st_size == 0:
            return ""
        with reading(self.path) as stream:
            return "" if self.kind.matches(stream) else f"is not {self.kind.name}"


class _Stream(io.BufferedWriter):
    """A device or a pipe. Not seekable: some devices claim to be, and stay at position 0."""

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
    """Open a stream to a temporary file that replaces ``path`` if the block succeeds.

    Args:
        path: the file to replace; a symbolic link is itself replaced, not its target.
        mode: the new file's permissions, to which the umask applies.
    """
    name = os.fsdecode(os.fsencode(path.name)[:_MAX_PREFIX])
    partial = path.with_name(f"{name}.{os.urandom(8).hex()}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
