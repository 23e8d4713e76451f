"""SHA-256 of files."""

import hashlib
import os
from typing import TYPE_CHECKING

from fasttrt._common.input_file import reading

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 20


def add_file(digest: "_Hash", path: str | os.PathLike[str]) -> None:
    """Add the content of a regular file to a digest, block by block.

    Raises:
        OSError, InputError: see `reading`.
    """
    with reading(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a regular file's content, in hexadecimal digits.

    Raises:
        OSError, InputError: see `reading`.
    """
    digest = hashlib.sha256()
    add_file(digest, path)
    return digest.hexdigest()
