"""Compute the digest of a model: the SHA-256 of everything that TensorRT reads of it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttrt._common.file_digest import add_file

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MAX_MESSAGE = 2**31 - 1  # the maximum size that protobuf serializes, in bytes


def model_sha256(
    contents: "Iterable[Path | bytes | Message]", files: Iterable[str], folder: Path
) -> str:
    """Hash a model and its external data.

    Args:
        contents: the model's file, its bytes, or the messages that would be serialized.
        files: the names of the external data's files.
        folder: the folder that these are relative to.
    """
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            add_file(digest, content)
        elif isinstance(content, bytes):
            digest.update(content)
        else:
            _add_message(digest, content)
    for name in sorted(set(files)):
        file = folder / name
        # Names and sizes too: the same bytes split differently are another model. A missing file
        # is reported by the parser, with the tensor's name.
        size = file.stat().st_size if file.is_file() else -1
        digest.update(f"\0{name}\0{size}\0".encode())
        if size >= 0:
            add_file(digest, file)
    return digest.hexdigest()


def _add_message(digest: "hashlib._Hash", message: "Message", max_size: int = _MAX_MESSAGE) -> None:
    """Hash a serialized message; field by field if it is too large for protobuf to serialize."""
    if message.ByteSize() <= max_size:
        digest.update(message.SerializeToString(deterministic=True))
        return
    for field, value in message.ListFields():
        digest.update(f"\0{field.number}\0".encode())
        for item in _items(value):
            if isinstance(item, bytes):
                digest.update(f"{len(item)}\0".encode())
                digest.update(item)
            elif hasattr(item, "ListFields"):
                _add_message(digest, item, max_size)
                digest.update(b"\0")
            else:
                digest.update(f"{item!r}\0".encode())


def _items(value: Any) -> Iterable[Any]:
    """Return the values of a field, which may be a single or a repeated one."""
    is_single = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    return [value] if is_single else value
